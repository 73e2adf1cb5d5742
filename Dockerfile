# The images of all services: `docker build --build-arg SERVICE=authd .`; docker compose builds them all. The programs are
# built once, together; each image takes its own. Nothing is fetched but Go modules.

FROM golang:1.26-bookworm AS modules
WORKDIR /src
# Whatever the builder's Go uses to get its modules; empty is Go's own choice.
ARG GOPROXY
ARG GOSUMDB
ENV GOTOOLCHAIN=local GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0
COPY go.work go.work.sum ./
COPY proto/go.mod proto/go.sum proto/
COPY pkg/go.mod pkg/go.sum pkg/
COPY services/go.mod services/go.sum services/
COPY gateway/go.mod gateway/go.sum gateway/
COPY deploy/go.mod deploy/go.sum deploy/
# What others wrote is compiled in a layer of its own, that outlives changes of ours.
RUN go build google.golang.org/grpc google.golang.org/grpc/health github.com/fullstorydev/grpchan/inprocgrpc \
	github.com/grpc-ecosystem/grpc-gateway/v2/runtime github.com/jackc/pgx/v5/pgxpool github.com/jackc/pgx/v5/stdlib \
	github.com/pressly/goose/v3 github.com/nats-io/nats-server/v2/server github.com/nats-io/nats.go/jetstream \
	github.com/prometheus/client_golang/prometheus/promhttp go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc \
	go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc github.com/swaggest/swgui/v5emb \
	github.com/diskfs/go-diskfs github.com/vishvananda/netlink github.com/google/nftables github.com/spf13/cobra

FROM modules AS source
COPY . .

FROM source AS build
RUN go build -ldflags="-s -w -buildid=" -o /out/ \
	slipway.dev/services/auth/cmd/authd slipway.dev/services/vm/cmd/vmd slipway.dev/services/ip/cmd/ipd \
	slipway.dev/services/node/cmd/noded slipway.dev/gateway/cmd/gatewayd slipway.dev/deploy/cmd/slipway-init
# A static program, and nothing else.
FROM scratch AS service
ARG SERVICE
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/${SERVICE} /service
USER 65532:65532
ENTRYPOINT ["/service"]
HEALTHCHECK --interval=3s --timeout=5s --start-period=60s --retries=6 CMD ["/service", "healthcheck"]

# The one that makes keys. A new volume takes the owner of the directory that it is first mounted on.
FROM build AS volumes
RUN mkdir -p /volumes/authority /volumes/keys/auth /volumes/keys/vm /volumes/keys/ip /volumes/keys/node \
	/volumes/keys/node-libvirt /volumes/keys/gateway /volumes/keys/postgres /volumes/keys/nats \
	/volumes/templates /volumes/data/node /volumes/data/nats /volumes/data/nats-2 /volumes/data/nats-3

FROM service AS init
COPY --from=volumes --chown=65532:65532 /volumes/ /

# The agent with libvirt and QEMU, for hosts that are real. It needs Debian's mirrors, and to run as root with some rights.
FROM build AS build-libvirt
# Without C in net and os/user all packages are the same as above, and compiled already.
RUN CGO_ENABLED=1 go build -tags libvirt_dlopen,netgo,osusergo -ldflags="-s -w -buildid=" -o /out/ slipway.dev/services/node/cmd/noded

FROM debian:bookworm-slim AS libvirt
RUN printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends ca-certificates iproute2 \
	libvirt-daemon-system libvirt-daemon-driver-qemu libvirt0 qemu-system-x86 qemu-utils seabios >/dev/null && \
	rm -rf /var/lib/apt/lists/*
COPY deploy/images/libvirt/start.sh /start
COPY --from=build-libvirt /out/noded /service
ENTRYPOINT ["/start"]
HEALTHCHECK --interval=3s --timeout=5s --start-period=120s --retries=6 CMD ["/service", "healthcheck"]

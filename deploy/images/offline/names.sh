# Sourced: the images that the Dockerfile and docker-compose.yml stand on. A test compares.
GOLANG_IMAGE=golang:1.26-bookworm
DEBIAN_IMAGE=debian:bookworm-slim
POSTGRES_IMAGE=postgres:15-bookworm
NATS_IMAGE=nats:2.15.2-alpine
HAPROXY_IMAGE=haproxy:2.6-bookworm
PROMETHEUS_IMAGE=prom/prometheus:v2.42.0

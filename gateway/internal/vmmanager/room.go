// Package vmmanager is the dialect of VMmanager 6: its JSON, its query parameters, its error numbers. It translates and
// knows nothing: what a call means is the service's business.
package vmmanager

import (
	"context"
	"net/http"
	"strings"
	"sync"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/rpc"

	"slipway.dev/gateway/internal/edge"
)

// setQueryParser makes the query parser the one of the process: grpc-gateway knows no other place for it.
var setQueryParser = sync.OnceFunc(func() { runtime.SetQueryParameterParser(queryParser{})(nil) })

// New makes the handler of the dialect. Requests have passed the edge.
func New(auth, vm, ip grpc.ClientConnInterface) (http.Handler, error) {
	setQueryParser()
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, marshaler{}),
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
		runtime.WithMetadata(outgoing),
		runtime.WithErrorHandler(onError),
		runtime.WithRoutingErrorHandler(onRoutingError),
		runtime.WithForwardResponseOption(status),
		runtime.WithForwardResponseRewriter(reshape),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithWriteContentLength(),
		// The path comes escaped and is unescaped once; a %2F never separates.
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptSlash),
	)
	ctx := context.Background()
	// The mux tries the routes that were registered last first: what is asked most stands at the end.
	for _, err := range []error{
		ippb.RegisterSettingServiceHandlerClient(ctx, mux, ippb.NewSettingServiceClient(ip)),
		vmpb.RegisterFsckServiceHandlerClient(ctx, mux, vmpb.NewFsckServiceClient(vm)),
		ippb.RegisterAddressServiceHandlerClient(ctx, mux, ippb.NewAddressServiceClient(ip)),
		ippb.RegisterNetworkServiceHandlerClient(ctx, mux, ippb.NewNetworkServiceClient(ip)),
		ippb.RegisterPoolServiceHandlerClient(ctx, mux, ippb.NewPoolServiceClient(ip)),
		authpb.RegisterTOTPServiceHandlerClient(ctx, mux, authpb.NewTOTPServiceClient(auth)),
		authpb.RegisterSelfServiceHandlerClient(ctx, mux, authpb.NewSelfServiceClient(auth)),
		authpb.RegisterSettingServiceHandlerClient(ctx, mux, authpb.NewSettingServiceClient(auth)),
		authpb.RegisterAPIKeyServiceHandlerClient(ctx, mux, authpb.NewAPIKeyServiceClient(auth)),
		authpb.RegisterRoleServiceHandlerClient(ctx, mux, authpb.NewRoleServiceClient(auth)),
		authpb.RegisterAuditServiceHandlerClient(ctx, mux, authpb.NewAuditServiceClient(auth)),
		authpb.RegisterKeyServiceHandlerClient(ctx, mux, authpb.NewKeyServiceClient(auth)),
		authpb.RegisterUserServiceHandlerClient(ctx, mux, authpb.NewUserServiceClient(auth)),
		authpb.RegisterTokenServiceHandlerClient(ctx, mux, authpb.NewTokenServiceClient(auth)),
		vmpb.RegisterLimitServiceHandlerClient(ctx, mux, vmpb.NewLimitServiceClient(vm)),
		vmpb.RegisterAccountServiceHandlerClient(ctx, mux, vmpb.NewAccountServiceClient(vm)),
		vmpb.RegisterOSServiceHandlerClient(ctx, mux, vmpb.NewOSServiceClient(vm)),
		vmpb.RegisterClusterServiceHandlerClient(ctx, mux, vmpb.NewClusterServiceClient(vm)),
		vmpb.RegisterNodeServiceHandlerClient(ctx, mux, vmpb.NewNodeServiceClient(vm)),
		vmpb.RegisterTaskServiceHandlerClient(ctx, mux, vmpb.NewTaskServiceClient(vm)),
		vmpb.RegisterHostServiceHandlerClient(ctx, mux, vmpb.NewHostServiceClient(vm)),
	} {
		if err != nil {
			return nil, err
		}
	}
	return room{mux}, nil
}

type room struct{ mux *runtime.ServeMux }

// ServeHTTP hands a request without headers to the mux: no header means anything to it, least of all Grpc-Metadata-*,
// Grpc-Timeout, X-Http-Method-Override, Content-Type and Accept. Only the Idempotency-Key goes on, checked, by a way of its own.
func (o room) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := new(http.Request)
	*in = *r
	if keys := r.Header.Values("Idempotency-Key"); len(keys) > 0 && r.Method == http.MethodPost {
		if err := idem.CheckKey(strings.Join(keys, "\n")); err != nil {
			WriteError(w, r, err)
			return
		}
		edge.Of(r.Context()).OnceKey = keys[0]
	}
	in.Header, in.Host, in.RemoteAddr = nil, "", ""
	if r.Method == http.MethodHead {
		in.Method = http.MethodGet
	}
	if r.Body != nil && r.Body != http.NoBody {
		in.Body = body{r.Body, edge.Of(r.Context())}
	}
	if wantsLines(r) {
		o.export(w, in)
		return
	}
	if s := shapeOf(r.Form); s != nil {
		in = in.WithContext(context.WithValue(in.Context(), shapeKey{}, s))
	}
	o.mux.ServeHTTP(w, in)
}

func noHeader(string) (string, bool) { return "", false }

// outgoing is all that a service learns of a request besides its message.
func outgoing(ctx context.Context, _ *http.Request) metadata.MD {
	q := edge.Of(ctx)
	md := metadata.MD{rpc.RequestIDKey: {q.ID}, rpc.ClientIPKey: {q.Client}}
	if q.UserAgent != "" {
		md[rpc.UserAgentKey] = []string{q.UserAgent}
	}
	if q.Identity != "" {
		md[identity.MetadataKey] = []string{q.Identity}
	}
	if q.OnceKey != "" {
		md[rpc.OnceKey] = []string{q.OnceKey}
	}
	return md
}

func status(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
	method, _ := runtime.RPCMethod(ctx)
	if s := successStatus(method); s != http.StatusOK {
		w.WriteHeader(s)
	}
	return nil
}

// successStatus is 201 for the one call whose clients demand it.
func successStatus(method string) int {
	if method == authpb.TokenService_CreateSession_FullMethodName {
		return http.StatusCreated
	}
	return http.StatusOK
}

func onRoutingError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	if code == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", strings.Join(allowed(r.URL.Path), ", "))
		WriteError(w, r, ErrMethod.With("this path does not take %s", r.Method))
		return
	}
	WriteError(w, r, ErrNoHandler)
}

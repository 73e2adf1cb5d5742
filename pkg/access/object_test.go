package access_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"slipway.dev/proto/all"
	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/access"
)

// TestChangesNameTheirObject checks that every method that changes something declares its object and the field with the id.
func TestChangesNameTheirObject(t *testing.T) {
	t.Parallel()
	changes := 0
	for _, m := range access.In(all.Files()...) {
		if !m.Mutates {
			if m.Object != nil {
				t.Errorf("%s changes nothing and names an object", m.Name)
			}
			continue
		}
		changes++
		if m.Object.GetKind() == "" || m.Object.GetId() == nil {
			t.Errorf("%s does not declare what it changes", m.Name)
			continue
		}
		field := m.Object.GetField()
		if field == "" {
			continue
		}
		if fd := input(t, m).Fields().ByName(protoreflect.Name(field)); fd == nil || !access.HoldsID(fd) {
			t.Errorf("%s: the field %q of the request is missing, no single number or text, or a secret", m.Name, field)
		}
	}
	if changes < 60 {
		t.Errorf("%d methods that change something", changes)
	}
}

func input(t *testing.T, m access.Method) protoreflect.MessageDescriptor {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(m.Name[1:], "/", ".")))
	if err != nil {
		t.Fatal(err)
	}
	return d.(protoreflect.MethodDescriptor).Input()
}

// TestObjectID: the record names what the method changes, and neither its neighbours in the path nor a secret.
func TestObjectID(t *testing.T) {
	t.Parallel()
	methods := map[string]access.Method{}
	for _, m := range access.In(all.Files()...) {
		methods[m.Name] = m
	}
	const uuid = "6f1c1c9e-9a3a-4f0e-8b0a-000000000007"
	for name, tt := range map[string]struct {
		req      proto.Message
		kind, id string
	}{
		"/vm.v3.HostService/StartHost":          {&vmpb.StartHostRequest{Id: 7}, "host", "7"},
		"/vm.v3.HostService/CreateHost":         {&vmpb.CreateHostRequest{Name: "a"}, "host", ""},
		"/vm.v3.HostService/RemoveHostIP":       {&vmpb.RemoveHostIPRequest{Id: 7, Ip: 8}, "address", "8"},
		"/vm.v3.HostService/SetPTR":             {&vmpb.SetPTRRequest{Id: 8}, "address", "8"},
		"/vm.v3.ClusterService/BindPool":        {&vmpb.BindPoolRequest{Id: 9}, "pool", "9"},
		"/vm.v3.LimitService/SetLimits":         {&vmpb.SetLimitsRequest{Id: 3}, "user", "3"},
		"/vm.v3.FsckService/DropParked":         {&vmpb.DropParkedRequest{Consumer: "vm", Event: uuid}, "event", uuid},
		"/ip.v3.AddressService/HoldPoolAddress": {&ippb.HoldPoolAddressRequest{Id: 9}, "address", ""},
		"/ip.v3.PoolService/DeleteRange":        {&ippb.DeleteRangeRequest{Id: 4}, "range", "4"},
		"/auth.v4.SessionService/KillSession":   {&authpb.KillSessionRequest{Uuid: "canary"}, "session", ""},
		"/auth.v4.SettingService/UpdateSetting": {&authpb.UpdateSettingRequest{Name: "token_ttl"}, "setting", "token_ttl"},
		"/auth.v4.TokenService/DeleteToken":     {&authpb.DeleteTokenRequest{Token: "canary"}, "token", ""},
		"/auth.v4.KeyService/RedeemKey":         {&authpb.RedeemKeyRequest{Key: "canary"}, "user", ""},
	} {
		m, ok := methods[name]
		if !ok || m.Object.GetKind() != tt.kind || m.ObjectID(tt.req) != tt.id {
			t.Errorf("%s (%v): %s %q, want %s %q", name, ok, m.Object.GetKind(), m.ObjectID(tt.req), tt.kind, tt.id)
		}
	}
	long := &authpb.UpdateSettingRequest{Name: strings.Repeat("x", 100)}
	if id := methods["/auth.v4.SettingService/UpdateSetting"].ObjectID(long); id != "" {
		t.Errorf("an id of %d bytes is recorded", len(id))
	}
}

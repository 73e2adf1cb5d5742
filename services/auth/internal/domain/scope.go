package domain

import (
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	accesspb "slipway.dev/proto/access/v1"
	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// scoped are the files whose methods users may call. A scope that none of them demands does not exist.
var scoped = []protoreflect.FileDescriptor{
	authpb.File_auth_v4_token_proto, authpb.File_auth_v4_key_proto, authpb.File_auth_v4_user_proto, authpb.File_auth_v4_setting_proto,
	authpb.File_auth_v4_session_proto, authpb.File_auth_v4_apikey_proto,
	vmpb.File_vm_v3_host_proto, vmpb.File_vm_v3_cluster_proto, vmpb.File_vm_v3_node_proto, vmpb.File_vm_v3_os_proto,
	vmpb.File_vm_v3_account_proto, vmpb.File_vm_v3_task_proto,
	ippb.File_ip_v3_network_proto, ippb.File_ip_v3_pool_proto, ippb.File_ip_v3_address_proto,
}

// demands are what the methods of each scope demand.
var demands = sync.OnceValue(func() map[string][]identity.Demand {
	all := map[string][]identity.Demand{}
	for _, f := range scoped {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				a, _ := proto.GetExtension(methods.Get(j).Options(), accesspb.E_Access).(*accesspb.Access)
				if s := a.GetScope(); s != "" && s != identity.ScopeSelf {
					all[s] = append(all[s], identity.Demand{
						Scope: s, Admin: a.GetLevel() == accesspb.Level_LEVEL_ADMIN, Read: a.GetRead(),
					})
				}
			}
		}
	}
	return all
})

// NewScopes checks the scopes of a credential that i makes: each is something that i may do. None: all of it, now and later,
// as far as i is not limited itself.
func NewScopes(i identity.Identity, list []string) ([]string, error) {
	if len(list) == 0 || slices.Equal(list, []string{"*"}) {
		if i.Limited {
			return append([]string{}, i.Only...), nil
		}
		return nil, nil
	}
	if len(list) > maxScopes {
		return nil, fault.Invalid.With("scopes: at most %d", maxScopes).On("scopes")
	}
	for _, s := range list {
		known, ok := demands()[s]
		if !ok {
			return nil, fault.Invalid.With("scopes: there is no scope %q", clip(s)).On("scopes")
		}
		if !slices.ContainsFunc(known, func(d identity.Demand) bool { _, may := i.For(d); return may }) {
			return nil, fault.Denied.With("scopes: %s is more than you may do", s).On("scopes")
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(list))), nil
}

// Package all lists the proto files that declare services. It is the only such list: auth reads from it which scopes there are,
// the gateway which routes, the tests which methods.
package all

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	authpb "slipway.dev/proto/auth/v4"
	fsckpb "slipway.dev/proto/fsck/v1"
	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"
	outboxpb "slipway.dev/proto/outbox/v1"
	parkedpb "slipway.dev/proto/parked/v1"
	vmpb "slipway.dev/proto/vm/v3"
)

// Files returns the files in the order in which documents name their services. A new service is a line here.
func Files() []protoreflect.FileDescriptor {
	return []protoreflect.FileDescriptor{
		authpb.File_auth_v4_token_proto,
		authpb.File_auth_v4_key_proto,
		authpb.File_auth_v4_user_proto,
		authpb.File_auth_v4_setting_proto,
		authpb.File_auth_v4_apikey_proto,
		authpb.File_auth_v4_role_proto,
		authpb.File_auth_v4_audit_proto,
		authpb.File_auth_v4_self_proto,
		authpb.File_auth_v4_totp_proto,
		authpb.File_auth_v4_session_proto,
		authpb.File_auth_v4_keystone_proto,
		vmpb.File_vm_v3_host_proto,
		vmpb.File_vm_v3_upkeep_proto,
		vmpb.File_vm_v3_tag_proto,
		vmpb.File_vm_v3_cluster_proto,
		vmpb.File_vm_v3_node_proto,
		vmpb.File_vm_v3_os_proto,
		vmpb.File_vm_v3_account_proto,
		vmpb.File_vm_v3_limit_proto,
		vmpb.File_vm_v3_task_proto,
		vmpb.File_vm_v3_disk_proto,
		vmpb.File_vm_v3_console_proto,
		vmpb.File_vm_v3_metrics_proto,
		vmpb.File_vm_v3_fsck_proto,
		ippb.File_ip_v3_network_proto,
		ippb.File_ip_v3_pool_proto,
		ippb.File_ip_v3_address_proto,
		ippb.File_ip_v3_audit_proto,
		ippb.File_ip_v3_setting_proto,
		nodepb.File_node_v1_node_proto,
		fsckpb.File_fsck_v1_fsck_proto,
		outboxpb.File_outbox_v1_outbox_proto,
		parkedpb.File_parked_v1_parked_proto,
	}
}

// In returns the files of a proto package, such as "auth.v4".
func In(pkg protoreflect.FullName) []protoreflect.FileDescriptor {
	var list []protoreflect.FileDescriptor
	for _, f := range Files() {
		if f.Package() == pkg {
			list = append(list, f)
		}
	}
	return list
}

package accept_test

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/accept"
	"slipway.dev/pkg/fault"
)

// TestCheck: what asks for nothing is accepted, anything else is refused with the name of the field.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		m     proto.Message
		text  string
		field string
		says  string
	}{
		{&vmpb.CreateHostRequest{}, `{}`, "", ""},
		{&vmpb.CreateHostRequest{}, `{"recipe_list":[],"vxlan":null,"interfaces":[],"expand_part":"","snapshot_ram":false,"net_weight":0,"tags":[]}`, "", ""},
		{&vmpb.CreateHostRequest{}, `{"send_email_mode":"saas_only","ignore_recipe_filters":true}`, "", ""},
		{&vmpb.CreateHostRequest{}, `{"send_email_mode":"always"}`, "send_email_mode", `not available here; accepted: "default", "saas_only"`},
		{&vmpb.CreateHostRequest{}, `{"expand_part":"vda1"}`, "expand_part", "not available here: leave the field out"},
		{&vmpb.CreateHostRequest{}, `{"snapshot_ram":true}`, "snapshot_ram", "not available here: leave the field out"},
		{&vmpb.CreateHostRequest{}, `{"recipe_list":[{"recipe":11}]}`, "recipe_list[0].recipe", "there is no recipe 11"},
		{&vmpb.CreateHostRequest{}, `{"recipe":11}`, "recipe", "there is no recipe 11"},
		{&vmpb.CreateHostRequest{}, `{"recipe_list":[{}]}`, "recipe_list[0].recipe", "there is no recipe 0"},
		{&vmpb.CreateHostRequest{}, `{"vxlan":[{"id":16,"ipnet":17}]}`, "vxlan[0].id", "there is no vxlan 16"},
		{&vmpb.CreateHostRequest{}, `{"recipe_params":[{}]}`, "recipe_params[0]", "not available here: leave the field out"},
		{&vmpb.CreateHostRequest{}, `{"disks":[{"size_mib":1},{"tags":[7]}]}`, "disks[1].tags[0]", "there is no tag 7"},
		{&vmpb.CreateHostRequest{}, `{"custom_interfaces":[{"model":"virtio","bridge":""}]}`, "", ""},
		{&vmpb.CreateHostRequest{}, `{"custom_interfaces":[{"model":"e1000"}]}`, "custom_interfaces[0].model", `not available here; accepted: "virtio"`},
		{&vmpb.CreateHostRequest{}, `{"ip_addr":{"without_allocation":true}}`, "ip_addr.without_allocation", "every address is allocated: leave the field out"},
		{&vmpb.UpdateHostRequest{}, `{"values":{}}`, "", ""},
		{&vmpb.UpdateHostRequest{}, `{"values":{"state":"active"}}`, "values", "these values cannot be changed"},
		{&authpb.SetUserPasswordRequest{}, `{"password":"x","roles":["@admin"]}`, "roles[0]", "this call changes the password alone"},
		{&vmpb.DeleteHostRequest{}, `{"force":true}`, "", ""},
	} {
		if err := protojson.Unmarshal([]byte(tt.text), tt.m); err != nil {
			t.Fatal(tt.text, err)
		}
		err := accept.For(tt.m.ProtoReflect().Descriptor()).Check(tt.m)
		if tt.field == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.text, err)
			}
			continue
		}
		if f, ok := fault.From(err); !ok || f.Reason != fault.Invalid.Reason || f.Field != tt.field || f.Msg != tt.says {
			t.Errorf("%s: %+v, want %s: %s", tt.text, err, tt.field, tt.says)
		}
	}
}

// TestNothingToCheck: most messages need no check, one that contains itself among them.
func TestNothingToCheck(t *testing.T) {
	t.Parallel()
	for _, m := range []proto.Message{&vmpb.GetHostRequest{}, &vmpb.ListHostsRequest{}, &vmpb.DeleteHostRequest{}} {
		c := accept.For(m.ProtoReflect().Descriptor())
		if c != nil || c.Check(m) != nil {
			t.Errorf("%T has a checker", m)
		}
	}
}

//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// planned are the attributes of a host as Terraform's provider decodes them: a value of another type ends its run.
type planned struct {
	Name      string `json:"name"`
	Comment   string `json:"comment"`
	CPUNumber int    `json:"cpu_number"`
	RAMMiB    int    `json:"ram_mib"`
	Disk      struct {
		ID   int `json:"id"`
		Size int `json:"disk_mib"`
	} `json:"disk"`
	Cluster struct {
		ID             int    `json:"id"`
		DatacenterType string `json:"datacenter_type"`
		Name           string `json:"name"`
		Type           string `json:"virtualization_type"`
	} `json:"cluster"`
	Node struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	} `json:"node"`
	Account struct {
		ID    int    `json:"id"`
		Email string `json:"email"`
	} `json:"account"`
	Domain string `json:"domain"`
	OS     struct {
		ID int `json:"id"`
	} `json:"os"`
	IPv4 []struct {
		Interface string `json:"interface"`
		IP        string `json:"ip"`
	} `json:"ip4"`
}

// provider sends what Terraform's provider sends.
type provider struct{ *client }

// first returns the first row of a list, which the provider takes without a look at the length.
func (p provider) first(path string, into any) {
	p.s.t.Helper()
	l := p.must("GET", path, nil)["list"].([]any)
	if len(l) == 0 {
		p.s.t.Fatalf("%s is empty", path)
	}
	text, err := json.Marshal(l[0])
	if err != nil {
		p.s.t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		p.s.t.Fatalf("%s: %v", path, err)
	}
}

// host reads a host as every refresh does.
func (p provider) read(id int) (h planned) {
	p.s.t.Helper()
	p.first(fmt.Sprintf("/vm/v3/host?where=id+EQ+%d", id), &h)
	return h
}

// addresses reads the addresses of a host as every refresh does.
func (p provider) addresses(id int) (list []struct {
	ID     int    `json:"id"`
	Addr   string `json:"ip_addr"`
	Domain string `json:"domain"`
	Mask   string `json:"mask"`
	Family int    `json:"family"`
},
) {
	p.s.t.Helper()
	_, text := p.raw("GET", fmt.Sprintf("/vm/v3/host/%d/ipv4", id), nil)
	var answer struct {
		List json.RawMessage `json:"list"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		p.s.t.Fatal(err)
	}
	if err := json.Unmarshal(answer.List, &list); err != nil || len(list) == 0 {
		p.s.t.Fatalf("addresses %s: %v", text, err)
	}
	return list
}

// TestTerraform is the life of what Terraform's provider makes: apply, a plan that finds nothing to change, changes, destroy.
func TestTerraform(t *testing.T) {
	s := anyStack(t)
	p := provider{s.login()}
	prefix := p.freeNetwork()

	// The network, the pool and the account, each looked for by its name first.
	if l := p.list(fmt.Sprintf("/ip/v3/ipnet?where=name+CP+%%27%s.0/24%%27", prefix)); len(l) != 0 {
		t.Fatalf("another run has the network: %v", l)
	}
	network := number(p.must("POST", "/vm/v3/userspace/public/ipnet", object{"name": prefix + ".0/24", "gateway": prefix + ".1", "note": "terraform"}), "id")
	var net struct {
		Name, Gateway, Note, Size string
	}
	p.first(fmt.Sprintf("/ip/v3/ipnet?where=id+EQ+%d", network), &net)
	if net.Name != prefix+".0/24" || net.Gateway != prefix+".1" || net.Note != "terraform" {
		t.Errorf("network %+v", net)
	}
	p.must("POST", fmt.Sprintf("/vm/v3/ipnet/%d", network), object{"note": "renamed"})
	pool := number(p.must("POST", "/ip/v3/userspace/public/ippool", object{"name": "terraform " + prefix, "note": "n"}), "id")
	p.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", pool), object{"name": prefix + ".20-" + prefix + ".29"})
	p.must("POST", fmt.Sprintf("/vm/v3/ippool/%d/cluster", pool), object{"clusters": []object{{"id": 1, "interface": 0}}})
	if got := p.must("GET", fmt.Sprintf("/ip/v3/ippool/%d", pool), nil); got["name"] != "terraform "+prefix || got["note"] != "n" {
		t.Errorf("pool %v", got)
	}
	var part0 struct{ Name string }
	p.first(fmt.Sprintf("/vm/v3/range?where=ippool+EQ+%d", pool), &part0)
	email := unique("terraform")
	account := number(p.must("POST", "/vm/v3/account", object{"email": email, "role": "@user", "password": "Terraform-1"}), "id")
	var owner struct {
		ID           int
		State, Email string
		Roles        []string
	}
	p.first(fmt.Sprintf("/vm/v3/account?where=id+EQ+%d", account), &owner)
	if owner.Email != email || owner.State != "active" || !slices.Equal(owner.Roles, []string{"@user"}) {
		t.Errorf("account %+v", owner)
	}

	// The host, with every field of the provider's request, and the task that the provider waits for.
	made := p.must("POST", "/vm/v3/host", fmt.Sprintf(`{"name":"mein","comment":"testing","cpu_number":1,"ram_mib":256,"hdd_mib":256,
		"cluster":1,"account":%d,"node":0,"domain":"mein.example.com","os":%d,"anti_spoofing":false,"ipv4_number":1,"ipv4_pool":[%d],
		"password":"topsecret-1","cpu_mode":"default","recipe_list":null,"custom_interfaces":null,"vxlan":null,"preset":0}`, account, p.tiny(), pool))
	id := number(made, "id")
	p.complete(made)
	h := p.read(id)
	if h.Name != "mein" || h.Comment != "testing" || h.CPUNumber != 1 || h.RAMMiB != 256 || h.Disk.Size != 256 || h.Cluster.ID != 1 || h.OS.ID != p.tiny() ||
		h.Account.ID != account || h.Account.Email != email || h.Domain != "mein.example.com" || len(h.IPv4) != 1 || h.IPv4[0].Interface == "" {
		t.Errorf("host %+v", h)
	}

	// The next plan reads the same values.
	again, before := p.read(id), p.addresses(id)
	if fmt.Sprint(again) != fmt.Sprint(h) || fmt.Sprint(p.addresses(id)) != fmt.Sprint(before) || before[0].Addr != h.IPv4[0].IP || before[0].Domain != h.Domain {
		t.Errorf("a refresh changes %+v to %+v, with %+v", h, again, before)
	}

	// Changes: name and comment, the domain by the PTR of the address, one address more and one less.
	p.must("POST", fmt.Sprintf("/vm/v3/host/%d", id), object{"name": "dein", "comment": "changed"})
	if h := p.read(id); h.Name != "dein" || h.Comment != "changed" {
		t.Errorf("renamed: %+v", h)
	}
	p.must("POST", fmt.Sprintf("/vm/v3/ip/%d/ptr", before[0].ID), object{"domain": "dein.example.com"})
	for deadline := time.Now().Add(time.Minute); p.read(id).Domain != "dein.example.com"; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the domain does not follow: %+v", p.read(id))
		}
	}
	p.complete(p.must("POST", fmt.Sprintf("/vm/v3/host/%d/ip", id), object{"ipv4_number": 1, "ipv4_pool": []int{pool}}))
	if l := p.addresses(id); len(l) != 2 || l[0].Addr != before[0].Addr {
		t.Errorf("one more: %+v", l)
	}
	p.complete(p.must("POST", fmt.Sprintf("/vm/v3/host/%d/ip", id), object{"ipv4_number": -1}))
	if l := p.addresses(id); len(l) != 1 || l[0].Domain != "dein.example.com" {
		t.Errorf("one less: %+v", l)
	}

	// What there is not is refused with the id, in the body of a 400, which is what the provider prints.
	resp, text := p.raw("POST", "/vm/v3/host", fmt.Sprintf(`{"name":"bad","os":%d,"password":"x","recipe_list":[{"recipe":11,"recipe_params":null}]}`, p.tiny()))
	if resp.StatusCode != 400 || !bytes.Contains(text, []byte("there is no recipe 11")) {
		t.Errorf("a recipe: %d %s", resp.StatusCode, text)
	}

	// Destroy, in the order of the provider; every answer is a JSON object.
	p.complete(p.must("DELETE", fmt.Sprintf("/vm/v3/host/%d", id), nil))
	if l := p.list(fmt.Sprintf("/vm/v3/host?where=id+EQ+%d", id)); len(l) != 0 {
		t.Errorf("destroyed: %v", l)
	}
	p.must("DELETE", fmt.Sprintf("/vm/v3/user/%d", account), nil)
}

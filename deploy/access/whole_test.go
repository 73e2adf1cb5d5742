package access

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
)

// TestWholeList reads a list of several pages through a real gateway from a real service, in several orders, while rows are added
// and removed: every row that exists throughout is there once, in order, and the answer counts its rows.
func TestWholeList(t *testing.T) {
	t.Parallel()
	w := build(t, 1)
	w.start()
	admin := w.login(adminEmail)
	number := func(fields map[string]any) int { return int(fields["id"].(float64)) }
	ranges := func(net, pool string) (id int, add func(name string) int) {
		w.do("POST", "/ip/v3/userspace/public/ipnet", admin, fmt.Sprintf(`{"name":%q}`, net))
		id = number(w.do("POST", "/ip/v3/userspace/public/ippool", admin, fmt.Sprintf(`{"name":%q}`, pool)))
		return id, func(name string) int {
			return number(w.do("POST", fmt.Sprintf("/vm/v3/ippool/%d/range", id), admin, fmt.Sprintf(`{"name":%q}`, name)))
		}
	}
	_, add := ranges("10.50.0.0/20", "kept")
	_, more := ranges("10.60.0.0/16", "passing")
	add("10.50.0.0/20")
	const kept = 4096

	stop := make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() {
		for i := 0; ; i = (i + 1) % 200 {
			select {
			case <-stop:
				return
			default:
				w.do("DELETE", fmt.Sprintf("/ip/v3/range/%d", more(fmt.Sprintf("10.60.%d.0/26", i))), admin, "")
			}
		}
	})
	defer passing.Wait()
	defer close(stop)
	for _, order := range []string{"", "&orderby=id+desc", "&orderby=ip_addr", "&orderby=state+desc,ip_addr+desc", "&orderby=owner,id+desc"} {
		r := httptest.NewRequest("GET", "/vm/v3/ip?fields=id,ip_addr,state&where=state+NE+''"+order, nil)
		r.Header.Set("X-Xsrf-Token", admin)
		rec := httptest.NewRecorder()
		w.replicas[0].gateway.Handler().ServeHTTP(rec, r)
		var got struct {
			List []struct {
				ID int
				IP string `json:"ip_addr"`
			}
			Size int
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || rec.Code != 200 {
			t.Fatalf("%s: %d %v %.200s", order, rec.Code, err, rec.Body)
		}
		ids, ours := map[int]bool{}, 0
		for i, a := range got.List {
			if ids[a.ID] {
				t.Errorf("%s: %s is there twice", order, a.IP)
			}
			ids[a.ID] = true
			if len(a.IP) > 6 && a.IP[:6] == "10.50." {
				ours++
			}
			if order == "" && i > 0 && got.List[i-1].ID >= a.ID || order == "&orderby=id+desc" && i > 0 && got.List[i-1].ID <= a.ID {
				t.Errorf("%s: %d follows %d", order, a.ID, got.List[i-1].ID)
			}
		}
		if ours != kept || got.Size != len(got.List) {
			t.Errorf("%s: %d of %d rows that stayed; %d rows, size %d", order, ours, kept, len(got.List), got.Size)
		}
	}
}

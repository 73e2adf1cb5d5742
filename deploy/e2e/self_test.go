//go:build e2e

package e2e

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// TestSecondFactor is the life of a second factor, as its owner and an administrator see it.
func TestSecondFactor(t *testing.T) {
	s := anyStack(t)
	admin, nobody, email := s.login(), &client{s: s}, unique("two")
	id := number(admin.must("POST", "/vm/v3/account", object{"email": email, "password": "customer-1", "full_name": "Ann"}), "id")
	login := func(password, code string) (int, int) {
		t.Helper()
		body := object{"email": email, "password": password}
		if code != "" {
			body["totp"] = code
		}
		status, answer := nobody.do("POST", "/auth/v4/public/token", body)
		if status == 201 {
			return status, 0
		}
		return status, number(answer["error"].(object), "code")
	}
	user := &client{s: s, token: nobody.must("POST", "/auth/v3/auth", object{"email": email, "password": "customer-1"})["token"].(string)}

	made := user.must("POST", "/auth/v4/self/totp", object{"password": "customer-1"})
	secret := made["secret"].(string)
	if !strings.HasPrefix(made["uri"].(string), "otpauth://totp/Slipway:"+email+"?") {
		t.Errorf("uri %v", made)
	}
	code := func() string {
		t.Helper()
		c, err := totp.GenerateCode(secret, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	used := code()
	recovery := user.must("POST", "/auth/v4/self/totp/confirm", object{"code": used})["recovery_codes"].([]any)
	if me := user.must("GET", "/auth/v4/whoami", nil); me["totp"] != true || me["full_name"] != "Ann" {
		t.Errorf("whoami %v", me)
	}
	if l := admin.list("/auth/v4/user?where=(totp+EQ+true+AND+email+EQ+'" + email + "')"); len(l) != 1 || number(l[0], "id") != id {
		t.Errorf("with a second factor: %v", l)
	}
	for _, tt := range []struct {
		what, password, code string
		status, number       int
	}{
		{"no code", "customer-1", "", 401, 90012},
		{"a used code", "customer-1", used, 400, 22013},
		{"a wrong password", "wrong", recovery[0].(string), 400, 22013},
		{"a recovery code", "customer-1", recovery[0].(string), 201, 0},
		{"a recovery code again", "customer-1", recovery[0].(string), 400, 22013},
	} {
		if status, n := login(tt.password, tt.code); status != tt.status || n != tt.number {
			t.Errorf("%s: %d %d, want %d %d", tt.what, status, n, tt.status, tt.number)
		}
	}
	if status, body := nobody.do("POST", "/vm/v3/public/auth", object{"email": email, "password": "customer-1"}); status != 401 {
		t.Errorf("the old login: %d %v", status, body)
	}
	key := admin.must("POST", "/auth/v4/user/"+email+"/key", object{})
	nobody.must("POST", "/auth/v4/public/key", object{"key": key["key"]})

	if status, _ := admin.do("DELETE", "/auth/v4/user/1/totp", nil); status != 403 {
		t.Errorf("an administrator takes the own second factor without a code: %d", status)
	}
	admin.must("DELETE", "/auth/v4/user/"+email+"/totp", nil)
	refusedSoon(t, user)
	if status, n := login("customer-1", ""); status != 201 {
		t.Errorf("after the reset: %d %d", status, n)
	}
}

// set changes a setting until the test is over.
func (c *client) set(name, value string) {
	c.s.t.Helper()
	path := "/auth/v4/setting/" + name
	for _, old := range c.list("/auth/v4/setting") {
		if old["name"] == name {
			c.s.t.Cleanup(func() { c.s.login().must("POST", path, object{"value": old["value"]}) })
		}
	}
	c.must("POST", path, object{"value": value})
}

// refusedSoon waits until a session is refused.
func refusedSoon(t *testing.T, c *client) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		status, body := c.do("GET", "/auth/v4/whoami", nil)
		if status == 401 {
			return
		}
		if time.Since(start) > 5*time.Second {
			t.Fatalf("the session lives on: %d %v", status, body)
		}
	}
}

// TestOwnPassword: an account that changes its password stays logged in in this session only. Rules for passwords and
// sessions are settings.
func TestOwnPassword(t *testing.T) {
	s := anyStack(t)
	admin, nobody, email := s.login(), &client{s: s}, unique("own")
	id := number(admin.must("POST", "/vm/v3/account", object{"email": email, "password": "customer-1"}), "id")
	login := func(password string) *client {
		t.Helper()
		return &client{s: s, token: nobody.must("POST", "/auth/v3/auth", object{"email": email, "password": password})["token"].(string)}
	}
	here, elsewhere := login("customer-1"), login("customer-1")
	elsewhere.must("GET", "/vm/v3/host", nil)
	admin.set("password_min_length", "12")
	if status, body := here.do("POST", "/auth/v4/self/password", object{"old_password": "customer-1", "password": "customer-2"}); status != 400 {
		t.Errorf("a short password: %d %v", status, body)
	}
	here.must("POST", "/auth/v4/self/password", object{"old_password": "customer-1", "password": "customer-2-long"})
	refusedSoon(t, elsewhere)
	here.must("GET", "/vm/v3/host", nil)
	login("customer-2-long")

	admin.set("login_attempts_account", "2")
	admin.set("login_window", "7")
	for range 2 {
		if status, body := here.do("POST", "/auth/v4/self/password", object{"old_password": "guess", "password": "customer-3-long"}); status != 400 {
			t.Errorf("a guess: %d %v", status, body)
		}
	}
	resp, text := nobody.raw("POST", "/auth/v4/public/token", object{"email": email, "password": "customer-2-long"})
	if wait, err := strconv.Atoi(resp.Header.Get("Retry-After")); resp.StatusCode != 429 || err != nil || wait < 6*60 || wait > 7*60 {
		t.Errorf("the third guess: %d %v %s", resp.StatusCode, resp.Header, text)
	}
	if l := admin.list("/auth/v4/setting"); len(l) < 7 {
		t.Errorf("settings %v", l)
	}

	path := "/vm/v3/account/" + strconv.Itoa(id)
	admin.must("POST", path, object{"email": "renamed-" + email, "note": "moved"})
	for start := time.Now(); admin.must("GET", path, nil)["email"] != "renamed-"+email; time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 2*time.Minute {
			t.Fatal("vm does not hear of the new e-mail")
		}
	}
	if u := admin.must("GET", "/vm/v3/user/renamed-"+email, nil); number(u, "id") != id || u["note"] != "moved" {
		t.Errorf("user %v", u)
	}
	admin.must("DELETE", path, nil)
	refusedSoon(t, here)
}

var proofField = regexp.MustCompile(`name="proof" value="([A-Z2-7]+)"`)

// TestLink: a browser opens a one-time link, presses the button, and is logged in by its cookie alone.
func TestLink(t *testing.T) {
	s := anyStack(t)
	admin, email := s.login(), unique("link")
	admin.must("POST", "/vm/v3/account", object{"email": email, "password": "customer-1"})
	key := admin.must("POST", "/auth/v4/user/"+email+"/key", object{})["key"].(string)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	do := func(method, path, body string, headers ...string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(text)
	}
	var proof string
	for range 3 { // looking at it uses nothing up
		resp, text := do("GET", "/auth/key/"+key, "")
		m := proofField.FindStringSubmatch(text)
		if resp.StatusCode != 200 || m == nil || resp.Header.Get("Referrer-Policy") != "no-referrer" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, text)
		}
		proof = m[1]
	}
	form := url.Values{"proof": {proof}}.Encode()
	const kind, ours = "Content-Type", "application/x-www-form-urlencoded"
	if resp, text := do("POST", "/auth/key/"+key, form, kind, ours, "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 {
		t.Errorf("another site logs in: %d %s", resp.StatusCode, text)
	}
	if resp, text := do("POST", "/auth/key/"+key, form, kind, ours, "Sec-Fetch-Site", "same-origin", "Origin", "null"); resp.StatusCode != 200 ||
		!strings.Contains(text, email) || !strings.Contains(text, " UTC") {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	if resp, text := do("GET", "/auth/v4/whoami", ""); resp.StatusCode != 200 || !strings.Contains(text, `"`+email+`"`) {
		t.Errorf("by cookie: %d %s", resp.StatusCode, text)
	}
	edit := `{"full_name":"Ann"}`
	if resp, text := do("POST", "/auth/v4/self", edit, "Sec-Fetch-Site", "cross-site"); resp.StatusCode != 403 {
		t.Errorf("another site changes something: %d %s", resp.StatusCode, text)
	}
	if resp, text := do("POST", "/auth/v4/self", edit, "Sec-Fetch-Site", "same-origin"); resp.StatusCode != 200 {
		t.Errorf("the panel changes something: %d %s", resp.StatusCode, text)
	}
	if resp, text := do("POST", "/auth/v4/self", edit, "Sec-Fetch-Site", "cross-site", "x-xsrf-token", admin.token); resp.StatusCode != 200 {
		t.Errorf("who has the token itself: %d %s", resp.StatusCode, text)
	}
	_, text := do("GET", "/api/auth/key-v4/"+key, "")
	form = url.Values{"proof": {proofField.FindStringSubmatch(text)[1]}}.Encode()
	if resp, text := do("POST", "/api/auth/key-v4/"+key, form, kind, ours); resp.StatusCode != 403 || !strings.Contains(text, "used already") {
		t.Errorf("a used link: %d %s", resp.StatusCode, text)
	}
	if strings.Contains(s.logged(), key) {
		t.Error("the key is in the log")
	}
}

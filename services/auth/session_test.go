package auth_test

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	tok, err := w.login(t, " Admin@Example.com ", adminPassword, "192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^1-[0-9a-f]{64}$`).MatchString(tok.GetToken()) || tok.GetId() != 1 || tok.GetExpiresAt() != nil || !tok.GetConfirmed() {
		t.Errorf("token %v", tok)
	}
	if n := w.count(t, `SELECT count(*) FROM token WHERE encode(hash, 'escape') LIKE '%' || $1 || '%'`, tok.GetToken()); n != 0 {
		t.Error("the token itself is stored")
	}
	for name, tt := range map[string]struct{ email, password, reason, field string }{
		"no e-mail":      {"  ", "x", "INVALID_ARGUMENT", "email"},
		"no password":    {adminEmail, "", "INVALID_ARGUMENT", "password"},
		"long password":  {adminEmail, strings.Repeat("x", 129), "INVALID_ARGUMENT", "password"},
		"wrong password": {adminEmail, "x", "INVALID_PASSWORD", ""},
	} {
		_, err := w.login(t, tt.email, tt.password, "")
		wantFault(t, name, err, tt.reason, tt.field)
	}
}

// TestLoginTellsNothing: unknown, suspended and mistaken get the same answer and the same work.
func TestLoginTellsNothing(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	w.user(t, "suspended@example.com", "")
	w.exec(t, `UPDATE user_account SET state = 'suspended' WHERE email = 'suspended@example.com'`)
	_, two := w.user(t, "two@example.com", "")
	w.enrol(t, two, "pw")
	answers := map[string]string{}
	for _, tt := range []struct{ email, password string }{
		{adminEmail, "wrong"},
		{"nobody@example.com", "wrong"},
		{"suspended@example.com", "pw"},
		{"suspended@example.com", "wrong"},
		{"two@example.com", "wrong"},
	} {
		before := w.Hashes()
		_, err := w.login(t, tt.email, tt.password, "")
		if n := w.Hashes() - before; n != 1 {
			t.Errorf("%s: %d hashes were computed, which take all the time that there is to measure", tt.email, n)
		}
		answers[fmt.Sprint(status.Convert(err).Proto())] = tt.email
		if f, _ := fault.From(err); f == nil || f.Msg != "Invalid password" {
			t.Errorf("%s: %v", tt.email, err)
		}
	}
	if len(answers) != 1 {
		t.Errorf("the answers differ: %v", answers)
	}
}

func TestGuessing(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	spellings := []string{"nobody@example.com", " Nobody@example.com", "nobody@EXAMPLE.com ", "ｎobody@example.com"}
	for _, known := range []string{"", adminEmail} {
		for i := range 10 {
			email := spellings[i%len(spellings)]
			if known != "" {
				email = known
			}
			_, err := w.login(t, email, "wrong", fmt.Sprintf("192.0.2.%d", i))
			wantFault(t, fmt.Sprintf("guess %d", i), err, "INVALID_PASSWORD", "")
		}
	}
	w.exec(t, `UPDATE login_failure SET last = now() + interval '5 minutes'`) // however long the test takes
	rows := w.count(t, `SELECT count(*) FROM login_failure`)
	for _, email := range append(spellings, adminEmail) {
		for _, password := range []string{"wrong", adminPassword} {
			_, err := w.login(t, email, password, "198.51.100.77")
			wantFault(t, "guess 11 of "+email, err, "RATE_LIMITED", "")
		}
	}
	if n := w.count(t, `SELECT count(*) FROM login_failure`); n != rows {
		t.Errorf("refused guesses left %d rows", n-rows)
	}
	w.exec(t, `UPDATE login_failure SET since = since - interval '15 minutes'`)
	w.mustLogin(t, adminEmail, adminPassword)
}

// TestGuessingInParallel: attempts made at the same time count as well as those one after the other.
func TestGuessingInParallel(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	reasons := map[string]int{}
	for range 30 {
		wg.Go(func() {
			_, err := w.login(t, adminEmail, "wrong", "192.0.2.1")
			f, _ := fault.From(err)
			mu.Lock()
			defer mu.Unlock()
			reasons[f.Reason]++
		})
	}
	wg.Wait()
	if reasons["INVALID_PASSWORD"] != 10 || reasons["RATE_LIMITED"] != 20 {
		t.Errorf("%v", reasons)
	}
}

func TestGuessingFromOneAddress(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	if _, err := w.login(t, "a@example.com", "wrong", "2001:db8::1"); err == nil {
		t.Fatal("no fault")
	}
	w.exec(t, `UPDATE login_failure SET failures = 100 WHERE failures = 1`)
	_, err := w.login(t, "b@example.com", "wrong", "2001:db8::ffff")
	wantFault(t, "the same /64", err, "RATE_LIMITED", "")
	_, err = w.login(t, "b@example.com", "wrong", "2001:db8:0:1::1")
	wantFault(t, "another /64", err, "INVALID_PASSWORD", "")

	// Logging in to an account of one's own gives back that login and no more.
	if _, err := w.login(t, adminEmail, "wrong", "192.0.2.9"); err == nil {
		t.Fatal("no fault")
	}
	if _, err := w.login(t, adminEmail, adminPassword, "192.0.2.9"); err != nil {
		t.Fatal(err)
	}
	if n := w.count(t, `SELECT sum(failures) FROM login_failure WHERE since > now() - interval '1 hour' AND failures < 50`); n != 4 {
		t.Errorf("%d failures are counted, want those of b, of its address and of b there, and the one of 192.0.2.9", n)
	}
}

// TestOwnerIsNotLockedOut: guesses from everywhere delay the logins of an account, longer and longer, but neither for good nor where
// its owner has logged in before. There as elsewhere, one address has only so many guesses.
func TestOwnerIsNotLockedOut(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	const home, cafe = "198.51.100.7", "203.0.113.5"
	attacker := 0
	guessed := func() (time.Duration, error) { // from an address that was not there before
		attacker++
		_, err := w.login(t, adminEmail, "wrong", fmt.Sprintf("192.0.2.%d", attacker))
		f, _ := fault.From(err)
		return f.RetryAfter, err
	}
	logIn := func(what, address string, reason string) {
		t.Helper()
		_, err := w.login(t, adminEmail, adminPassword, address)
		if reason == "" && err != nil || reason != "" {
			wantFault(t, what, err, reason, "")
		}
	}
	pass := func(time string) {
		t.Helper()
		w.exec(t, `UPDATE login_failure SET last = now() - interval '`+time+`'`)
	}
	logIn("at home", home, "")
	for range 10 {
		_, err := guessed()
		wantFault(t, "a guess", err, "INVALID_PASSWORD", "")
	}
	for _, least := range []time.Duration{10, 20, 40, 60, 60, 60} {
		w.exec(t, `UPDATE login_failure SET last = now()`)
		wait, err := guessed()
		wantFault(t, "a guess too soon", err, "RATE_LIMITED", "")
		if wait > least*time.Second || wait < least*time.Second/2 {
			t.Errorf("come again in %s, want %d s", wait, least)
		}
		pass(fmt.Sprintf("%d seconds", least))
		_, err = guessed()
		wantFault(t, "a guess after the delay", err, "INVALID_PASSWORD", "")
	}
	w.exec(t, `UPDATE login_failure SET last = now() + interval '5 minutes'`)
	logIn("elsewhere, too soon", cafe, "RATE_LIMITED")
	logIn("at home, meanwhile", home, "")
	if _, err := guessed(); err == nil {
		t.Error("no fault")
	} else {
		wantFault(t, "the owner's login does not help the attacker", err, "RATE_LIMITED", "")
	}
	pass("1 minute")
	logIn("elsewhere, after the delay", cafe, "")
	for range 10 {
		_, err := w.login(t, adminEmail, "wrong", home)
		wantFault(t, "a guess at home", err, "INVALID_PASSWORD", "")
	}
	logIn("at home, after ten guesses there", home, "RATE_LIMITED")
	logIn("elsewhere, where it has logged in before", cafe, "")
}

func TestSlidingTTL(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	token := w.mustLogin(t, adminEmail, adminPassword)
	introspect := func() (*authpb.IntrospectResponse, error) {
		return w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: token})
	}
	age := func(d string) { w.exec(t, `UPDATE token SET last_used = now() - $1::text::interval`, d) }

	age("59 minutes")
	if _, err := introspect(); err != nil {
		t.Errorf("unused for 59 minutes: %v", err)
	}
	if n := w.count(t, `SELECT count(*) FROM token WHERE last_used > now() - interval '1 minute'`); n != 1 {
		t.Error("the use was not noted")
	}
	age("30 seconds")
	if _, err := introspect(); err != nil {
		t.Error(err)
	}
	if n := w.count(t, `SELECT count(*) FROM token WHERE last_used < now() - interval '20 seconds'`); n != 1 {
		t.Error("a use was noted twice within a minute")
	}
	age("59 minutes 50 seconds")
	if r, err := introspect(); err != nil || time.Until(r.GetExpiresAt().AsTime()) > 11*time.Second {
		t.Errorf("the identity outlives its token: %v %v", r.GetExpiresAt().AsTime(), err)
	}
	age("60 minutes 1 second")
	_, err := introspect()
	wantFault(t, "unused for an hour", err, "UNAUTHENTICATED", "")

	w.exec(t, `INSERT INTO setting (name, value) VALUES ('token_ttl', '999')`)
	if _, err := introspect(); err != nil {
		t.Errorf("token_ttl of 999 minutes: %v", err)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, user := w.user(t, "user@example.com", "")
	_, other := w.user(t, "other@example.com", "")
	introspect := func(token string) (*authpb.IntrospectResponse, error) {
		return w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: token})
	}
	ends := time.Now().UTC().Add(time.Hour).Format(time.DateTime)
	limited, err := w.tokens.CreateToken(user, &authpb.CreateTokenRequest{ExpiresAt: wrapperspb.String(ends), Description: "ci"})
	if err != nil || limited.GetExpiresAt().GetValue() != ends || limited.GetId() != id {
		t.Fatalf("%v %v", limited, err)
	}
	endless, err := w.tokens.CreateToken(user, &authpb.CreateTokenRequest{})
	if err != nil || endless.GetExpiresAt() != nil {
		t.Fatalf("%v %v", endless, err)
	}
	w.exec(t, `UPDATE token SET last_used = now() - interval '3 days'`)
	for _, tok := range []*authpb.Token{limited, endless} {
		if r, err := introspect(tok.GetToken()); err != nil || r.GetAccountId() != id || r.GetSessionId() == 0 {
			t.Errorf("%v %v", r, err)
		}
	}
	w.exec(t, `UPDATE token SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL`)
	_, err = introspect(limited.GetToken())
	wantFault(t, "expired", err, "UNAUTHENTICATED", "")

	for name, text := range map[string]string{"past": "2020-01-01 00:00:00", "form": "tomorrow", "empty": ""} {
		_, err := w.tokens.CreateToken(user, &authpb.CreateTokenRequest{ExpiresAt: wrapperspb.String(text)})
		wantFault(t, name, err, "INVALID_ARGUMENT", "expires_at")
	}
	for name, text := range map[string]string{
		"foreign": endless.GetToken(), "unknown": "1-" + strings.Repeat("0", 64), "nonsense": strings.Repeat(".", 1<<20), "empty": "",
	} {
		_, err := w.tokens.DeleteToken(other, &authpb.DeleteTokenRequest{Token: text})
		wantFault(t, name, err, "NOT_FOUND", "")
		if name == "foreign" {
			continue
		}
		_, err = introspect(text)
		wantFault(t, name, err, "UNAUTHENTICATED", "")
	}
	if _, err := w.tokens.DeleteToken(user, &authpb.DeleteTokenRequest{Token: endless.GetToken()}); err != nil {
		t.Fatal(err)
	}
	_, err = introspect(endless.GetToken())
	wantFault(t, "revoked", err, "UNAUTHENTICATED", "")
	_, err = w.tokens.DeleteToken(user, &authpb.DeleteTokenRequest{Token: endless.GetToken()})
	wantFault(t, "revoked twice", err, "NOT_FOUND", "")
}

func TestSuspended(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, user := w.user(t, "user@example.com", "")
	token := w.mustLogin(t, "user@example.com", "pw")
	w.exec(t, `UPDATE user_account SET state = 'suspended' WHERE email = 'user@example.com'`)
	_, err := w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: token})
	wantFault(t, "introspect", err, "UNAUTHENTICATED", "")
	_, err = w.tokens.Whoami(user, &authpb.WhoamiRequest{})
	wantFault(t, "whoami", err, "UNAUTHENTICATED", "")
	_, err = w.tokens.CreateToken(user, &authpb.CreateTokenRequest{})
	wantFault(t, "create token", err, "UNAUTHENTICATED", "")
}

// TestIdentityEnds: an identity lives for a minute of the service's clock.
func TestIdentityEnds(t *testing.T) {
	t.Parallel()
	w := start(t, func() time.Time { return time.Now().Add(-2 * time.Minute) })
	_, err := w.tokens.Whoami(w.as(t, w.mustLogin(t, adminEmail, adminPassword)), &authpb.WhoamiRequest{})
	wantFault(t, "an identity of two minutes ago", err, "UNAUTHENTICATED", "")
}

func BenchmarkIntrospect(b *testing.B) {
	w := start(b, nil)
	r := &authpb.IntrospectRequest{Token: w.mustLogin(b, adminEmail, adminPassword)}
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := w.tokens.Introspect(b.Context(), r); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkLogin(b *testing.B) {
	w := start(b, nil)
	for b.Loop() {
		w.mustLogin(b, adminEmail, adminPassword)
	}
}

package auth_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// factor is the app of a user with a second factor.
type factor struct {
	secret    string
	confirmed string // the code that confirmed it
	recovery  []string
}

func (f factor) code(t testing.TB, at time.Duration) string {
	t.Helper()
	code, err := totp.GenerateCode(f.secret, time.Now().Add(at))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func (w *world) factors() authpb.TOTPServiceClient {
	return authpb.NewTOTPServiceClient(w.Server().Local("gateway"))
}

// enrol gives the account of ctx a second factor.
func (w *world) enrol(t testing.TB, ctx context.Context, password string) factor { //nolint:revive // t comes first everywhere here
	t.Helper()
	made, err := w.factors().CreateTOTP(ctx, &authpb.CreateTOTPRequest{Password: password})
	if err != nil {
		t.Fatal(err)
	}
	f := factor{secret: made.GetSecret()}
	f.confirmed = f.code(t, 0)
	confirmed, err := w.factors().ConfirmTOTP(ctx, &authpb.ConfirmTOTPRequest{Code: f.confirmed})
	if err != nil {
		t.Fatal(err)
	}
	f.recovery = confirmed.GetRecoveryCodes()
	return f
}

// later is as if the codes so far were of a while ago.
func (w *world) later(t testing.TB) {
	t.Helper()
	w.exec(t, `UPDATE totp SET last_step = last_step - 10`)
}

func (w *world) loginWith(t testing.TB, password, code string) (*authpb.Token, error) {
	t.Helper()
	return w.tokens.CreateSession(t.Context(), &authpb.CreateSessionRequest{Email: "user@example.com", Password: password, Totp: code})
}

func TestTOTP(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	id, user := w.user(t, "user@example.com", "")
	_, err := w.factors().CreateTOTP(user, &authpb.CreateTOTPRequest{Password: "wrong"})
	wantFault(t, "a stolen session enrols", err, "INVALID_PASSWORD", "")
	_, err = w.factors().ConfirmTOTP(user, &authpb.ConfirmTOTPRequest{Code: "000000"})
	wantFault(t, "nothing to confirm", err, "TOTP_INACTIVE", "")
	offered, err := w.factors().CreateTOTP(user, &authpb.CreateTOTPRequest{Password: "pw"})
	if err != nil || !strings.HasPrefix(offered.GetUri(), "otpauth://totp/Slipway:user@example.com?") || !strings.Contains(offered.GetUri(), "secret="+offered.GetSecret()) {
		t.Fatalf("%v %v", offered, err)
	}
	if _, err := w.loginWith(t, "pw", ""); err != nil {
		t.Errorf("what is only offered counts: %v", err)
	}
	_, err = w.factors().ConfirmTOTP(user, &authpb.ConfirmTOTPRequest{Code: factor{secret: offered.GetSecret()}.code(t, 5*time.Minute)})
	wantFault(t, "a wrong first code", err, "INVALID_CODE", "code")
	token, err := w.tokens.CreateToken(user, &authpb.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}

	f := w.enrol(t, user, "pw")
	if len(f.recovery) != 10 {
		t.Errorf("recovery codes %v", f.recovery)
	}
	_, err = w.factors().CreateTOTP(user, &authpb.CreateTOTPRequest{Password: "pw"})
	wantFault(t, "twice", err, "TOTP_ACTIVE", "")
	for what, ctx := range map[string]context.Context{"a session from before": user, "a token": w.as(t, token.GetToken())} {
		if me, err := w.tokens.Whoami(ctx, &authpb.WhoamiRequest{}); err != nil || !me.GetTotp() {
			t.Errorf("%s: %v %v", what, me, err)
		}
	}
	if _, err := w.redeem(t, w.key(t, "user@example.com")); err != nil {
		t.Errorf("a one-time key needs no code: %v", err)
	}

	for _, tt := range []struct{ what, password, code, reason string }{
		{"without a code", "pw", "", "TOTP_REQUIRED"},
		{"with a blank one", "pw", "  ", "TOTP_REQUIRED"},
		{"the code of the confirmation", "pw", f.confirmed, "INVALID_PASSWORD"},
		{"of another time", "pw", f.code(t, 5*time.Minute), "INVALID_PASSWORD"},
		{"without a password that fits", "wrong", "", "INVALID_PASSWORD"},
	} {
		_, err := w.loginWith(t, tt.password, tt.code)
		wantFault(t, tt.what, err, tt.reason, "")
	}
	w.later(t)
	code := f.code(t, 0)
	_, err = w.loginWith(t, "wrong", code)
	wantFault(t, "a code does not make up for a password", err, "INVALID_PASSWORD", "")
	if _, err := w.loginWith(t, "pw", " "+code[:3]+" "+code[3:]); err != nil {
		t.Errorf("with a code: %v", err)
	}
	_, err = w.loginWith(t, "pw", code)
	wantFault(t, "the code again", err, "INVALID_PASSWORD", "")
	w.later(t)
	legacy, err := w.tokens.CreateLegacySession(t.Context(), &authpb.CreateLegacySessionRequest{Email: "user@example.com", Password: "pw", Totp: f.code(t, 0)})
	if err != nil || legacy.GetId() != id {
		t.Errorf("the old login: %v %v", legacy, err)
	}
	_, err = w.tokens.CreateLegacySession(t.Context(), &authpb.CreateLegacySessionRequest{Email: "user@example.com", Password: "pw"})
	wantFault(t, "the old login without a code", err, "TOTP_REQUIRED", "")

	w.later(t)
	_, err = w.factors().DeleteTOTP(user, &authpb.DeleteTOTPRequest{})
	wantFault(t, "off without a code", err, "INVALID_CODE", "code")
	if off, err := w.factors().DeleteTOTP(user, &authpb.DeleteTOTPRequest{Code: f.code(t, 0)}); err != nil || off.GetTotp() {
		t.Fatalf("%v %v", off, err)
	}
	if _, err := w.loginWith(t, "pw", ""); err != nil {
		t.Error(err)
	}
}

func TestRecoveryCodes(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, user := w.user(t, "user@example.com", "")
	f := w.enrol(t, user, "pw")
	if n := w.count(t, `SELECT count(*) FROM recovery_code WHERE encode(hash, 'escape') LIKE '%' || $1 || '%'`, f.recovery[0]); n != 0 {
		t.Error("a recovery code itself is stored")
	}
	typed := strings.ToLower(strings.ReplaceAll(f.recovery[0], "-", ""))
	if _, err := w.loginWith(t, "pw", typed); err != nil {
		t.Errorf("%s: %v", typed, err)
	}
	_, err := w.loginWith(t, "pw", f.recovery[0])
	wantFault(t, "a recovery code twice", err, "INVALID_PASSWORD", "")
	if s, err := w.factors().GetTOTP(user, &authpb.GetTOTPRequest{}); err != nil || !s.GetTotp() || s.GetRecoveryCodes() != 9 {
		t.Errorf("%v %v", s, err)
	}
	renewed, err := w.factors().CreateRecoveryCodes(user, &authpb.CreateRecoveryCodesRequest{Code: f.recovery[1]})
	if err != nil || len(renewed.GetRecoveryCodes()) != 10 {
		t.Fatalf("%v %v", renewed, err)
	}
	_, err = w.loginWith(t, "pw", f.recovery[2])
	wantFault(t, "an old recovery code", err, "INVALID_PASSWORD", "")
	if _, err := w.factors().DeleteTOTP(user, &authpb.DeleteTOTPRequest{Code: renewed.GetRecoveryCodes()[0]}); err != nil {
		t.Error(err)
	}
	if n := w.count(t, `SELECT count(*) FROM recovery_code`); n != 0 {
		t.Errorf("%d recovery codes are left", n)
	}
}

// TestCodeOnce: a code opens one session, however many send it at the same time, to whichever process.
func TestCodeOnce(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	second := startOn(t, w.pool, w.bus, nil)
	_, user := w.user(t, "user@example.com", "")
	f := w.enrol(t, user, "pw")
	for _, setting := range []string{"login_attempts_account", "login_attempts_address"} {
		if _, err := w.set.UpdateSetting(w.admin(t), &authpb.UpdateSettingRequest{Name: setting, Value: "1000"}); err != nil {
			t.Fatal(err)
		}
	}
	for what, tt := range map[string]struct {
		times int
		code  func() string
		use   func(w *world, code string) error
	}{
		"logins": {60, func() string { return f.code(t, 0) }, func(w *world, code string) error { return errOf(w.loginWith(t, "pw", code)) }},
		"new recovery codes": {200, func() string { return f.code(t, 0) }, func(w *world, code string) error {
			return errOf(w.factors().CreateRecoveryCodes(user, &authpb.CreateRecoveryCodesRequest{Code: code}))
		}},
	} {
		w.later(t)
		code := tt.code()
		var wg sync.WaitGroup
		var mu sync.Mutex
		reasons := map[string]int{}
		for i := range tt.times {
			wg.Go(func() {
				reason := ""
				if f, ok := fault.From(tt.use([]*world{w, second}[i%2], code)); ok {
					reason = f.Reason
					if reason != "INVALID_PASSWORD" && reason != "INVALID_CODE" {
						t.Errorf("%s: %v", what, f)
					}
				}
				mu.Lock()
				defer mu.Unlock()
				reasons[reason]++
			})
		}
		wg.Wait()
		if reasons[""] != 1 || reasons["INVALID_PASSWORD"]+reasons["INVALID_CODE"] != tt.times-1 {
			t.Errorf("%s: %v", what, reasons)
		}
	}
}

// TestGuessingCodes: whoever knows the password has as many guesses at the code as at a password, and no way to get
// more.
func TestGuessingCodes(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, user := w.user(t, "user@example.com", "")
	f := w.enrol(t, user, "pw")
	for i := range 10 {
		_, err := w.loginWith(t, "pw", "")
		wantFault(t, fmt.Sprintf("without a code, %d", i), err, "TOTP_REQUIRED", "")
		if i%2 == 0 {
			_, err = w.loginWith(t, "pw", "12345")
			wantFault(t, fmt.Sprintf("guess %d", i), err, "INVALID_PASSWORD", "")
		} else {
			_, err = w.factors().DeleteTOTP(user, &authpb.DeleteTOTPRequest{Code: "12345"})
			wantFault(t, fmt.Sprintf("guess %d", i), err, "INVALID_CODE", "")
		}
	}
	w.later(t)
	w.exec(t, `UPDATE login_failure SET last = now() + interval '5 minutes'`) // however long the test takes
	_, err := w.loginWith(t, "pw", f.code(t, 0))
	wantFault(t, "guess 11", err, "RATE_LIMITED", "")
	if f, _ := fault.From(err); f.RetryAfter <= 0 || f.RetryAfter > 15*time.Minute {
		t.Errorf("come again in %s", f.RetryAfter)
	}
	_, err = w.factors().DeleteTOTP(user, &authpb.DeleteTOTPRequest{Code: f.code(t, 0)})
	wantFault(t, "guess 11 elsewhere", err, "RATE_LIMITED", "")
}

func TestResetTOTP(t *testing.T) {
	t.Parallel()
	w := start(t, nil)
	_, user := w.user(t, "user@example.com", "")
	_, reader := w.user(t, "reader@example.com", identity.RoleReadOnlyAdmin)
	session := w.mustLogin(t, "user@example.com", "pw")
	w.enrol(t, user, "pw")
	w.enrol(t, w.admin(t), adminPassword)
	reset := func(ctx context.Context, user string) error {
		return errOf(w.factors().ResetTOTP(ctx, &authpb.ResetTOTPRequest{User: user}))
	}
	wantFault(t, "by a user", reset(user, "user@example.com"), "PERMISSION_DENIED", "")
	wantFault(t, "by a read-only administrator", reset(reader, "user@example.com"), "PERMISSION_DENIED", "")
	wantFault(t, "of the administrator's own", reset(w.admin(t), adminEmail), "PERMISSION_DENIED", "")
	wantFault(t, "of who has none", reset(w.admin(t), "reader@example.com"), "TOTP_INACTIVE", "")
	wantFault(t, "of nobody", reset(w.admin(t), "999"), "NOT_FOUND", "")
	w.as(t, session)
	if err := reset(w.admin(t), "user@example.com"); err != nil {
		t.Fatal(err)
	}
	_, err := w.tokens.Introspect(t.Context(), &authpb.IntrospectRequest{Token: session})
	wantFault(t, "the session afterwards", err, "UNAUTHENTICATED", "")
	if _, err := w.loginWith(t, "pw", ""); err != nil {
		t.Error(err)
	}
}

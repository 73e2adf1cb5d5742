package gateway_test

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

func (a *fakeAuth) CreateLegacySession(_ context.Context, r *authpb.CreateLegacySessionRequest) (*authpb.LegacySession, error) {
	if r.GetPassword() != "secret" {
		return nil, fault.New(codes.Unauthenticated, "INVALID_PASSWORD", "Invalid password")
	}
	return &authpb.LegacySession{Id: 3, Session: "3-cafe", Token: "3-cafe", Confirmed: true}, nil
}

func (a *fakeAuth) CreateSession(_ context.Context, r *authpb.CreateSessionRequest) (*authpb.Token, error) {
	switch r.GetPassword() {
	case "secret":
		return &authpb.Token{Id: 3, Token: "3-cafe", Confirmed: true}, nil
	case "two":
		if r.GetTotp() == "123456" {
			return &authpb.Token{Id: 3, Token: "3-cafe", Confirmed: true}, nil
		}
		return nil, fault.New(codes.Unauthenticated, "TOTP_REQUIRED", "the account has a second factor: send a code as totp")
	case "again":
		return nil, fault.New(codes.ResourceExhausted, "RATE_LIMITED", "too many attempts, wait a while")
	case "window":
		return nil, fault.New(codes.ResourceExhausted, "RATE_LIMITED", "too many attempts, wait a while").After(754*time.Second + time.Millisecond)
	default:
		return nil, fault.New(codes.Unauthenticated, "INVALID_PASSWORD", "Invalid password")
	}
}

func (a *fakeAuth) ListTokens(_ context.Context, r *authpb.ListTokensRequest) (*authpb.ListTokensResponse, error) {
	return &authpb.ListTokensResponse{Size: 2, List: []*authpb.TokenInfo{
		{Id: 40, Kind: "session", Description: print(r.GetQuery()), LastUsed: "2026-01-01 00:00:00", Created: "2026-01-01 00:00:00", AccountId: 4},
		{Id: 41, Kind: "token", ExpiresAt: wrapperspb.String("2030-01-31 00:00:00"), AccountId: 4},
	}}, nil
}

func (a *fakeAuth) GetSelfSession(ctx context.Context, _ *authpb.GetSelfSessionRequest) (*authpb.TokenInfo, error) {
	i, _ := identity.From(ctx)
	return &authpb.TokenInfo{Id: i.SessionID, Kind: "session", AccountId: i.AccountID, ValidUntil: wrapperspb.String("2030-01-31 00:00:00")}, nil
}

func (a *fakeAuth) DeleteSelfSession(context.Context, *authpb.DeleteSelfSessionRequest) (*authpb.DeleteSelfSessionResponse, error) {
	return &authpb.DeleteSelfSessionResponse{}, nil
}

// fakeKeys shows what it was asked in the key, and redeems "4-key" alone.
type fakeKeys struct {
	authpb.UnimplementedKeyServiceServer
}

func (fakeKeys) CreateKey(_ context.Context, r *authpb.CreateKeyRequest) (*authpb.CreateKeyResponse, error) {
	return &authpb.CreateKeyResponse{Id: "4", Key: "4-key of " + r.GetUser()}, nil
}

func (fakeKeys) RedeemKey(_ context.Context, r *authpb.RedeemKeyRequest) (*authpb.RedeemKeyResponse, error) {
	if r.GetKey() == "4-later" {
		return nil, fault.Unavailable
	}
	if r.GetKey() != "4-key" {
		return nil, fault.New(codes.Unauthenticated, "INVALID_KEY", "Unauthorized: the key is unknown, used or expired")
	}
	return &authpb.RedeemKeyResponse{Id: "4", Token: "4-cafe", Confirmed: true}, nil
}

func (fakeKeys) RedeemLegacyKey(context.Context, *authpb.RedeemLegacyKeyRequest) (*authpb.LegacySession, error) {
	return &authpb.LegacySession{Id: 4, Session: "4-cafe", Token: "4-cafe", Confirmed: true}, nil
}

type fakeSettings struct {
	authpb.UnimplementedSettingServiceServer
}

func (fakeSettings) GetSetting(_ context.Context, r *authpb.GetSettingRequest) (*authpb.Setting, error) {
	return &authpb.Setting{Name: r.GetName(), Value: "60"}, nil
}

func (fakeSettings) UpdateSetting(_ context.Context, r *authpb.UpdateSettingRequest) (*authpb.Setting, error) {
	return &authpb.Setting{Name: r.GetName(), Value: r.GetValue()}, nil
}

func (fakeSettings) ListSettings(context.Context, *authpb.ListSettingsRequest) (*authpb.ListSettingsResponse, error) {
	return &authpb.ListSettingsResponse{Size: 1, List: []*authpb.Setting{{Name: "token_ttl", Value: "999", DefaultValue: "60", Min: 1, Max: 525600}}}, nil
}

// fakeTOTP takes the code 123456.
type fakeTOTP struct {
	authpb.UnimplementedTOTPServiceServer
}

func (fakeTOTP) CreateTOTP(context.Context, *authpb.CreateTOTPRequest) (*authpb.CreateTOTPResponse, error) {
	return &authpb.CreateTOTPResponse{Secret: "ABC", Uri: "otpauth://totp/Slipway:user@example.com?secret=ABC&issuer=Slipway"}, nil
}

func (fakeTOTP) ConfirmTOTP(_ context.Context, r *authpb.ConfirmTOTPRequest) (*authpb.ConfirmTOTPResponse, error) {
	if err := codeIn(r.GetCode()); err != nil {
		return nil, err
	}
	return &authpb.ConfirmTOTPResponse{RecoveryCodes: []string{"AAAA-BBBB-CCCC-DDDD"}}, nil
}

func (fakeTOTP) GetTOTP(context.Context, *authpb.GetTOTPRequest) (*authpb.GetTOTPResponse, error) {
	return &authpb.GetTOTPResponse{Totp: true, RecoveryCodes: 9}, nil
}

func (fakeTOTP) DeleteTOTP(_ context.Context, r *authpb.DeleteTOTPRequest) (*authpb.DeleteTOTPResponse, error) {
	return &authpb.DeleteTOTPResponse{}, codeIn(r.GetCode())
}

func (fakeTOTP) ResetTOTP(_ context.Context, r *authpb.ResetTOTPRequest) (*authpb.ResetTOTPResponse, error) {
	return &authpb.ResetTOTPResponse{Id: int32(len(r.GetUser()))}, nil // short
}

func codeIn(code string) error {
	if code != "123456" {
		return fault.New(codes.InvalidArgument, "INVALID_CODE", "wrong, or used already").On("code")
	}
	return nil
}

func (fakeUsers) FindUser(_ context.Context, r *authpb.FindUserRequest) (*authpb.User, error) {
	return &authpb.User{Id: 4, Email: r.GetUser(), Roles: []string{identity.RoleUser}, State: "active", Created: "2026-01-01 00:00:00"}, nil
}

func (fakeUsers) DeleteSSHKey(_ context.Context, r *authpb.DeleteSSHKeyRequest) (*authpb.DeleteSSHKeyResponse, error) {
	return &authpb.DeleteSSHKeyResponse{Id: r.GetId()}, nil
}

func (fakeUsers) UpdateUser(_ context.Context, r *authpb.UpdateUserRequest) (*authpb.UpdateUserResponse, error) {
	if len(r.GetRoles()) != 1 && r.FullName == nil {
		return nil, fault.Invalid.With("found %s", fmt.Sprint(r.GetRoles())).On("roles")
	}
	return &authpb.UpdateUserResponse{Id: r.GetId()}, nil
}

func (fakeUsers) SuspendUser(_ context.Context, r *authpb.SuspendUserRequest) (*authpb.SuspendUserResponse, error) {
	if r.GetId() == 1 {
		return nil, fault.New(codes.FailedPrecondition, "LAST_ADMIN", "the last active administrator cannot lose that right")
	}
	return &authpb.SuspendUserResponse{Id: r.GetId()}, nil
}

func (fakeUsers) ResumeUser(_ context.Context, r *authpb.ResumeUserRequest) (*authpb.ResumeUserResponse, error) {
	return &authpb.ResumeUserResponse{Id: r.GetId()}, nil
}

func (fakeUsers) SetUserPassword(_ context.Context, r *authpb.SetUserPasswordRequest) (*authpb.SetUserPasswordResponse, error) {
	if r.GetPassword() == "" {
		return nil, fault.Invalid.With("a value is required").On("password")
	}
	return &authpb.SetUserPasswordResponse{Id: r.GetId()}, nil
}

func (fakeUsers) DeleteUser(_ context.Context, r *authpb.DeleteUserRequest) (*authpb.DeleteUserResponse, error) {
	return &authpb.DeleteUserResponse{Id: r.GetId()}, nil
}

package account

const (
	columns = `id, email, password_hash, roles, state, auth_source, epoch, revision, full_name, lang, phone_number, note, created_at, ` +
		HasTOTP + ` AS totp, ` + grants

	// HasTOTP is SQL for whether a row of user_account has a second factor.
	HasTOTP = `EXISTS (SELECT FROM totp f WHERE f.account_id = user_account.id AND f.confirmed_at IS NOT NULL)`

	// IdentityColumns is SQL for what an identity says of a row of user_account. IdentityFields scans it.
	IdentityColumns = `user_account.id, email, roles, state, auth_source, epoch, revision, ` + grants

	// grants is SQL for what the custom roles of a row of user_account allow.
	grants = `
		ARRAY(SELECT DISTINCT s FROM role r, unnest(r.scopes) s WHERE r.name = ANY(user_account.roles) AND NOT r.reach_all) AS own_scopes,
		ARRAY(SELECT DISTINCT s FROM role r, unnest(r.scopes) s WHERE r.name = ANY(user_account.roles) AND r.reach_all) AS all_scopes`
)

// IdentityFields returns where to scan IdentityColumns to.
func (a *Account) IdentityFields() []any {
	return []any{&a.ID, &a.Email, &a.Roles, &a.State, &a.AuthSource, &a.Epoch, &a.Revision, &a.OwnScopes, &a.AllScopes}
}

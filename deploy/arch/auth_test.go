package arch

// auth is the service of accounts and credentials.
var auth = house{
	service: "auth",
	order:   "setting seal keyring bearer power account caller role guess password mfa credential sshkey user audit server",
	tables: map[string]string{
		"setting": "setting", "keyring": "signing_key", "account": "user_account", "role": "role", "guess": "login_failure login_place",
		"mfa": "totp recovery_code", "credential": "token refresh_session refresh_token login_key", "sshkey": "ssh_key",
		"audit": "audit audit_link audit_unsealed",
	},
	reaches: map[string]string{
		"account/list.go":                     "role totp",
		"role/list.go":                        "user_account",
		"credential/introspect/build_live.go": "user_account",
		"credential/session/build_refresh.go": "user_account",
		"credential/session/list.go":          "user_account",
		"sshkey/list.go":                      "user_account",
		"user/list.go":                        "user_account",
	},
	apart: "schema",
}

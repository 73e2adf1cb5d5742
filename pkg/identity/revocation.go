package identity

import "time"

// MaxLife is the longest validity of an identity. Revocations must be remembered at least as long, and a service that missed a
// revocation accepts the identity at most as long.
const MaxLife = time.Minute

// revocations holds the revocations of the last minutes. It compares revisions and not times, because clocks differ.
type revocations struct {
	sessions map[int32]time.Time // when it was revoked
	accounts map[int32]revocation
	swept    time.Time
}

type revocation struct {
	revision int32
	at       time.Time
}

func newRevocations() revocations {
	return revocations{sessions: map[int32]time.Time{}, accounts: map[int32]revocation{}}
}

func (r *revocations) add(session, account, revision int32, now time.Time) {
	if session != 0 {
		r.sessions[session] = now
	} else if old := r.accounts[account]; revision >= old.revision { // events may come again, late
		r.accounts[account] = revocation{revision, now}
	}
	r.sweep(now)
}

func (r *revocations) has(i Identity) bool {
	if _, ok := r.sessions[i.SessionID]; ok && i.SessionID != 0 {
		return true
	}
	a, ok := r.accounts[i.AccountID]
	return ok && i.Revision < a.revision
}

// sweep removes revocations that are older than any valid identity.
func (r *revocations) sweep(now time.Time) {
	const kept = 2 * MaxLife
	if now.Sub(r.swept) < MaxLife {
		return
	}
	r.swept = now
	for k, at := range r.sessions {
		if now.Sub(at) > kept {
			delete(r.sessions, k)
		}
	}
	for k, v := range r.accounts {
		if now.Sub(v.at) > kept {
			delete(r.accounts, k)
		}
	}
}

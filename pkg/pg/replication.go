package pg

import "context"

// Replication says in a few words whether the primary waits for a standby before it acknowledges a commit, and whether that
// is so. Any role may ask.
func Replication(ctx context.Context, db DB) (text string, synchronous bool, err error) {
	var names, commit string
	err = db.QueryRow(ctx, `SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit')`).Scan(&names, &commit)
	switch {
	case err != nil:
		return "", false, err
	case names == "":
		return "not synchronous: synchronous_standby_names is empty, so a failover may lose what was acknowledged", false, nil
	case commit != "on" && commit != "remote_apply":
		return "not synchronous: synchronous_commit is " + commit + ", so a failover may lose what was acknowledged", false, nil
	}
	return "synchronous, by " + names, true, nil
}

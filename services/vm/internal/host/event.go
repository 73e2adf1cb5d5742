package host

import (
	"context"
	"encoding/json"
	"strconv"

	"google.golang.org/protobuf/types/known/timestamppb"

	auditpb "slipway.dev/proto/audit/v1"
	authpb "slipway.dev/proto/auth/v4"

	"slipway.dev/pkg/audit"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/disk"
)

// AccountDeleted gives the hosts, the disks without a host and the tasks of a deleted account to its heir, and records each host
// that is moved. A second delivery changes nothing.
//
// It locks hosts before the account, as creates and deletes do. A host whose create has ended in between is locked by
// Move, which looks again.
func AccountDeleted(ctx context.Context, tx *unit.Tx, u *authpb.UserDeleted) error {
	if _, err := lockOwned(ctx, tx, u.GetId(), nil); err != nil {
		return err
	}
	heir, err := account.Leave(ctx, tx, u.GetId(), u.GetHeir())
	if err != nil || heir == 0 { // without an heir the hosts stay as they are, for the consistency check to find
		return err
	}
	moved, err := Move(ctx, tx, nil, u.GetId(), heir)
	if err != nil {
		return err
	}
	size, err := disk.GiveAll(ctx, tx, u.GetId(), heir)
	if err != nil {
		return err
	}
	if size > 0 {
		if err := account.Transfer(ctx, tx, u.GetId(), heir, account.Usage{account.HDDMiB: size}); err != nil {
			return err
		}
	}
	if err := tx.Reassign(ctx, u.GetId(), heir, nil); err != nil {
		return err
	}
	return tx.Together(ctx, func() error {
		for _, h := range moved {
			if err := tx.Emit(ctx, "vm.v3.audit.recorded", "audit", movedRecord(h, u)); err != nil {
				return err
			}
		}
		return nil
	})
}

// movedRecord returns the audit record of a host that the deletion of its account moved.
func movedRecord(h Host, u *authpb.UserDeleted) *auditpb.Record {
	text := func(account int32) string {
		b, _ := json.Marshal(map[string]any{"account": account}) // a map of numbers has a text
		return string(b)
	}
	return &auditpb.Record{
		At: timestamppb.Now(), Service: "vm", Action: "vm.v3.host.moved", ActorId: u.GetActorId(), Actor: u.GetActor(),
		RequestId: u.GetRequestId(), ObjectType: "host", ObjectId: strconv.Itoa(int(h.ID)), Result: audit.OK,
		Before: text(u.GetId()), After: text(h.AccountID),
	}
}

package machine

import (
	"context"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/jobs"
)

// SetPassword has the guest agent set the password that the job gives the machine. A guest whose agent is silent is no
// error: Answered says so. It may run twice: the agent sets the same password again.
func (s *Steps) SetPassword(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	_, err = agent.SetGuestPassword(ctx, &nodepb.SetGuestPasswordRequest{Command: command(run, a), PasswordHash: p.PasswordHash})
	if f, ok := fault.From(err); ok && f.Reason == "GUEST_AGENT_SILENT" {
		return nil
	}
	p.answered = err == nil
	return err
}

// AskGuest asks the guest agent. It may run twice.
func (s *Steps) AskGuest(ctx context.Context, run *jobs.Run, a Args) error {
	p, agent, err := s.on(ctx, run, a)
	if err != nil {
		return err
	}
	_, err = agent.AskGuest(ctx, &nodepb.AskGuestRequest{Machine: a.UUID})
	p.answered = err == nil
	return err
}

// Answered reports whether the guest agent is known to have done what this attempt asked. An attempt that found the step
// done by an earlier one does not know.
func (s *Steps) Answered(run *jobs.Run) bool {
	p, ok := run.Memo.(*plan)
	return ok && p.answered
}

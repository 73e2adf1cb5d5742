package agent

import "slipway.dev/pkg/crash"

// points are the crash points of a command: after it is recorded in the journal, and after it is carried out but not answered.
type points struct{ accepted, carried crash.Point }

func pointsOf(command string) points {
	return points{crash.At("node." + command + ".accepted"), crash.At("node." + command + ".carried")}
}

var (
	atDisk, atSeed, atDefine  = pointsOf("disk"), pointsOf("seed"), pointsOf("define")
	atRemoveDisk, atPassword  = pointsOf("disk-remove"), pointsOf("password")
	atStart, atStop, atRemove = pointsOf("start"), pointsOf("stop"), pointsOf("remove")
	atAdapt, atCD, atMove     = pointsOf("adapt"), pointsOf("cd"), pointsOf("disk-move")
)

func (p points) round(f func() error) error {
	p.accepted.Hit()
	if err := f(); err != nil {
		return err
	}
	p.carried.Hit()
	return nil
}

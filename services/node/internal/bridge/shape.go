package bridge

import (
	"github.com/vishvananda/netlink"
)

// shaper is the handle of the queue that limits what goes to a guest: by it the queue is known as ours.
var shaper = netlink.MakeHandle(0x51, 0)

// queueing is for how long a packet may wait in the queue, as a part of a second.
const queueing = 20

// Shape limits what goes to the guest behind a tap, 0 for no limit, and reports whether it had to. Queues of others stay. A tap
// that is not there needs no limit.
func (b *Bridges) Shape(tap string, mbit int) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	link, err := netlink.LinkByName(tap)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, explain("find "+tap, err)
	}
	has, err := shaped(link)
	if err != nil {
		return false, explain("list queues of "+tap, err)
	}
	if mbit == 0 {
		if has == nil {
			return false, nil
		}
		return true, explain("remove the queue of "+tap, netlink.QdiscDel(has))
	}
	want := queue(link, mbit)
	if has != nil && has.Rate == want.Rate {
		return false, nil
	}
	return true, explain("limit "+tap, netlink.QdiscReplace(want))
}

// shaped returns the queue of ours that a link has, nil for none.
func shaped(link netlink.Link) (*netlink.Tbf, error) {
	list, err := netlink.QdiscList(link)
	if err != nil {
		return nil, err
	}
	for _, q := range list {
		if t, ok := q.(*netlink.Tbf); ok && t.Handle == shaper {
			return t, nil
		}
	}
	return nil, nil
}

// queue returns a queue that sends at a rate, with a bucket for a hundredth of a second and the largest segments.
func queue(link netlink.Link, mbit int) *netlink.Tbf {
	rate := bytesOf(mbit)
	burst := uint32(max(rate/100, 80<<10)) // #nosec G115 -- far below
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: shaper, Parent: netlink.HANDLE_ROOT},
		Rate:       rate, Buffer: netlink.Xmittime(rate, burst),
		Limit: burst + uint32(min(max(rate/queueing, 256<<10), 256<<20)), // #nosec G115 -- bounded
	}
}

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// floodRate is the number of logins a second in a flood, whatever their answers.
const floodRate = 200

// flood measures the effect of a flood of logins on other routes: the p99 of a list, calm and under the flood, in
// turn; for clients that send requests now and then, and for some that leave no processor idle.
func (b *bench) flood(ctx context.Context) error {
	return b.withStack(ctx, "flood", func(a *api) error {
		for _, setting := range []string{"login_attempts_account", "login_attempts_address"} {
			if err := a.do("POST", "/auth/v4/setting/"+setting, map[string]string{"value": "1000000"}, &struct{}{}); err != nil {
				return err
			}
		}
		for _, t := range []target{
			{name: "100 requests/s", conns: 4, every: 40 * time.Millisecond},
			{name: "4 clients without a pause", conns: 4},
		} {
			t.url, t.token = a.url+"/vm/v3/os", a.token
			if err := b.flooded(ctx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) flooded(ctx context.Context, t target) error {
	var calm, flooded []time.Duration
	var answered atomic.Int64
	for range b.rounds {
		r, err := load(ctx, t, b.length)
		if err != nil {
			return err
		}
		calm = append(calm, r.p99)
		base, _, _ := strings.Cut(t.url, "/vm/")
		stop := pour(ctx, base, &answered)
		r, err = load(ctx, t, b.length)
		stop()
		if err != nil {
			return err
		}
		flooded = append(flooded, r.p99)
	}
	b.row(fmt.Sprintf("p99 of a list, %s, under %d logins/s, of which %.0f/s were answered", t.name, floodRate, float64(answered.Load())/(b.length.Seconds()*float64(b.rounds))),
		ms(median(flooded)), "calm "+ms(median(calm))+"; bar 2 ×", fmt.Sprintf("%.1f ×", float64(median(flooded))/float64(median(calm))))
	return nil
}

// pour sends logins at the rate of the flood until stop is called, which waits for those under way.
func pour(ctx context.Context, url string, answered *atomic.Int64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(time.Second / floodRate)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				all.Go(func() {
					if _, _, err := tryLogin(ctx, url, "nobody@example.com", "wrong"); err == nil {
						answered.Add(1)
					}
				})
			}
		}
	})
	return func() { cancel(); all.Wait() }
}

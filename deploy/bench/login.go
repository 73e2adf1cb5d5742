package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
)

const (
	loginClients = 16 // so that auth never waits for the next login
	guesses      = 1000
)

// logins compares the cost of a login with that of hashing a password alone, and checks whether the time of a refusal
// reveals that an account exists.
func (b *bench) logins(ctx context.Context) error {
	p, a, err := b.open("sim", "login", b.url)
	if err != nil {
		return err
	}
	defer p.stop()
	for _, setting := range []string{"login_attempts_account", "login_attempts_address"} {
		if err := a.do("POST", "/auth/v4/setting/"+setting, map[string]string{"value": "1000000"}, &struct{}{}); err != nil {
			return err
		}
	}
	if err := b.loginRate(ctx, p.url); err != nil {
		return err
	}
	return b.loginTells(ctx, p.url)
}

func (b *bench) loginRate(ctx context.Context, url string) error {
	var floor, rate []float64
	for range b.rounds {
		floor = append(floor, perSecond(hashesAtOnce(), b.length, bareHash))
		var mu sync.Mutex
		var first error
		rate = append(rate, perSecond(loginClients, b.length, func() {
			_, status, err := tryLogin(ctx, url, "admin@example.com", "bench")
			if err == nil && status != http.StatusCreated {
				err = fmt.Errorf("a login answers %d", status)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				first = err
			}
		}))
		if first != nil {
			return first
		}
	}
	b.row("floor: argon2id alone, as many at once as auth computes", fmt.Sprintf("%.0f/s", median(floor)), "", "")
	b.row("logins, 16 clients", fmt.Sprintf("%.0f/s", median(rate)), "floor; bar 80 %", ratio(median(rate), median(floor)))
	return nil
}

// perSecond does something in so many goroutines for a while.
func perSecond(workers int, length time.Duration, do func()) float64 {
	var wg sync.WaitGroup
	var mu sync.Mutex
	total, start := 0, time.Now()
	for range workers {
		wg.Go(func() {
			n := 0
			for time.Since(start) < length {
				do()
				n++
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	wg.Wait()
	return float64(total) / time.Since(start).Seconds()
}

// bareHash is a hash with auth's parameters.
// hashesAtOnce is how many auth computes at a time.
func hashesAtOnce() int { return min(max(1, runtime.GOMAXPROCS(0)/2), 2) }

func bareHash() { argon2.IDKey([]byte("bench"), make([]byte, 16), 2, 19456, 1, 32) }

// loginTells compares the refusal of a wrong password with that of an account that does not exist. Which comes first is random:
// strictly in turn, the same one would always wait for the garbage of the other.
func (b *bench) loginTells(ctx context.Context, url string) error {
	emails := []string{"admin@example.com", "nobody@example.com"}
	took, bodies := make([][]time.Duration, 2), map[string]bool{}
	for range guesses {
		for _, i := range rand.Perm(len(emails)) { // #nosec G404 -- no secret: an order
			at := time.Now()
			body, status, err := tryLogin(ctx, url, emails[i], "wrong")
			if err != nil {
				return err
			}
			took[i] = append(took[i], time.Since(at))
			bodies[fmt.Sprintf("%d %s", status, body)] = true
		}
	}
	if len(bodies) != 1 {
		return fmt.Errorf("refusals differ: %v", bodies)
	}
	known, unknown := median(took[0]), median(took[1])
	b.row("refused logins, account known · unknown", ms(known)+" · "+ms(unknown), "bar 5 ms apart", ms((known - unknown).Abs()))
	return nil
}

func tryLogin(ctx context.Context, url, email, password string) (body []byte, status int, err error) {
	text, err := json.Marshal(map[string]string{"email": email, "password": password})
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/auth/v4/public/token", bytes.NewReader(text))
	if err != nil {
		return nil, 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return body, resp.StatusCode, err
}

// Package fsck asks an installation whether what is recorded and what is there are the same, for operators and for tests. It
// changes nothing, except that it can replay or drop a parked event on request.
package fsck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Client calls a running installation over REST, as an administrator.
type Client struct {
	URL   string
	Token string
}

// Finding is one inconsistency.
type Finding struct {
	Kind   string `json:"kind"`
	Object string `json:"object"`
	Detail string `json:"detail"`
}

// Report is the result of a check. If something is unchecked, an empty list of findings proves nothing.
type Report struct {
	Findings  []Finding `json:"list"`
	Unchecked []string  `json:"unchecked"`
	Nodes     int       `json:"nodes"`
	Hosts     int       `json:"hosts"`
	Machines  int       `json:"machines"`
	Addresses int       `json:"addresses"`
}

// Clean reports whether everything was checked and nothing was found.
func (r Report) Clean() bool { return len(r.Findings) == 0 && len(r.Unchecked) == 0 }

// Parked is an event that could not be applied.
type Parked struct {
	Consumer string `json:"consumer"`
	Event    string `json:"event"`
	Subject  string `json:"subject"`
	Key      string `json:"key"`
	Reason   string `json:"reason"`
	Since    string `json:"date_parked"`
}

// Login returns a client that is logged in as an account.
func Login(ctx context.Context, url, email, password string) (*Client, error) {
	c := &Client{URL: url}
	var t struct {
		Token string `json:"token"`
	}
	err := c.do(ctx, http.MethodPost, "/auth/v4/public/token", map[string]string{"email": email, "password": password}, &t)
	c.Token = t.Token
	return c, err
}

// Check runs the consistency check; findings are checked again after the time settle.
func (c *Client) Check(ctx context.Context, settle time.Duration) (r Report, err error) {
	return r, c.do(ctx, http.MethodGet, fmt.Sprintf("/vm/v3/fsck?settle_ms=%d", max(settle.Milliseconds(), 1)), nil, &r)
}

// Rest checks until nothing is found, or until the time within is over, and returns the last report. After a crash,
// within is how long recovery may take.
func (c *Client) Rest(ctx context.Context, within time.Duration) (r Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	err = errors.New("no check ended in time")
	for {
		last, lastErr := c.Check(ctx, 20*time.Millisecond)
		if ctx.Err() != nil {
			return r, err
		}
		if r, err = last, lastErr; err == nil && r.Clean() {
			return r, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond): // between two looks
		}
	}
}

// Parked lists events that could not be applied.
func (c *Client) Parked(ctx context.Context) ([]Parked, error) {
	var l struct {
		List []Parked `json:"list"`
	}
	return l.List, c.do(ctx, http.MethodGet, "/vm/v3/parked", nil, &l)
}

// Replay applies a parked event.
func (c *Client) Replay(ctx context.Context, consumer, event string) error {
	return c.do(ctx, http.MethodPost, "/vm/v3/parked/"+url.PathEscape(consumer)+"/"+url.PathEscape(event)+"/replay", struct{}{}, nil)
}

// Drop deletes a parked event.
func (c *Client) Drop(ctx context.Context, consumer, event string) error {
	return c.do(ctx, http.MethodDelete, "/vm/v3/parked/"+url.PathEscape(consumer)+"/"+url.PathEscape(event), nil, nil)
}

// Republish has a service send its events since a time again, or all services if it is "", and returns their number.
func (c *Client) Republish(ctx context.Context, service string, since time.Time) (n int, err error) {
	var r struct {
		Events int `json:"events"`
	}
	err = c.do(ctx, http.MethodPost, "/vm/v3/event/republish", map[string]string{
		"service": service, "since": since.UTC().Format(time.DateTime),
	}, &r)
	return r.Events, err
}

func (c *Client) do(ctx context.Context, method, path string, body, into any) error {
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, r)
	if err != nil {
		return err
	}
	if c.Token != "" {
		req.Header.Set("x-xsrf-token", c.Token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %d %.300s", method, path, resp.StatusCode, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// Node is a node as an administrator sees it.
type Node struct {
	ID      int    `json:"id"`
	Name    string `json:"name"`
	State   string `json:"state"`
	Breaker string `json:"breaker"`
	Storage struct {
		Size      int64 `json:"size_mib"`
		Available int64 `json:"available_mib"`
	} `json:"storage"`
}

// Nodes lists all nodes.
func (c *Client) Nodes(ctx context.Context) (all []Node, err error) {
	const most = 500
	for from := 0; ; from += most {
		var l struct {
			List []Node `json:"list"`
		}
		if err := c.do(ctx, http.MethodGet, fmt.Sprintf("/vm/v3/node?limit=%d,%d", from, most), nil, &l); err != nil {
			return nil, err
		}
		if all = append(all, l.List...); len(l.List) < most {
			return all, nil
		}
	}
}

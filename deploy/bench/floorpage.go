package main

import (
	"encoding/json"
	"net/http"
	"os"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// explained is what the stack says of how it reads a list. The floor runs the same statements.
type explained struct {
	Page, Count struct {
		SQL  string   `json:"sql"`
		Args []string `json:"args"`
	}
}

// pageSQL is the list that the floor serves, as the bench found it out.
var pageSQL = sync.OnceValue(func() (e explained) {
	_ = json.Unmarshal([]byte(os.Getenv("FLOOR_PAGE")), &e) // without one there is nothing to serve
	return e
})

type floorList struct {
	LastNotify int32        `json:"last_notify"`
	List       []*floorHost `json:"list"`
	Size       int32        `json:"size"`
}

// writePage answers a page as directly as Go can: both statements in one round trip, encoding/json, no authentication.
func writePage(w http.ResponseWriter, r *http.Request, pool *pgxpool.Pool) {
	l, err := readPage(r, pool)
	text, jsonErr := json.Marshal(l)
	if err != nil || jsonErr != nil {
		http.Error(w, "internal", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

func readPage(r *http.Request, pool *pgxpool.Pool) (l floorList, err error) {
	e := pageSQL()
	var b pgx.Batch
	b.Queue(e.Page.SQL, args(e.Page.Args)...)
	b.Queue(e.Count.SQL, args(e.Count.Args)...)
	res := pool.SendBatch(r.Context(), &b)
	defer res.Close()
	rows, err := res.Query()
	if err != nil {
		return l, err
	}
	l.LastNotify = 1_800_000_000
	l.List, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (*floorHost, error) { return scanFloor(row) })
	if err != nil {
		return l, err
	}
	err = res.QueryRow().Scan(&l.Size)
	return l, err
}

func args(texts []string) []any {
	out := make([]any, len(texts))
	for i, t := range texts {
		out[i] = t
	}
	return out
}

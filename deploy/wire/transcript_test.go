package wire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTranscripts: the replies of the dialect's transcripts are what the table says. The transcripts script their services, so
// that objects may lack what the services always set: null in their place is no mistake there.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	table, err := Answers()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../gateway/internal/ispsystem/testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	checked := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range exchanges(string(text)) {
			if e.status != "200" && e.status != "201" || table.Route(e.method, e.path) == "" {
				continue
			}
			checked++
			for line := range strings.SplitSeq(message(table.Check(e.method, e.path, []byte(e.body))), "\n") {
				if line != "" && !strings.Contains(line, " is null, want an object") {
					t.Errorf("%s: %s", filepath.Base(file), line)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d replies were checked", checked)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// exchange is a request of a transcript with its reply.
type exchange struct{ method, path, status, body string }

// exchanges reads the first lines of the requests and the replies of a transcript.
func exchanges(text string) (list []exchange) {
	inRequest, inBody := false, false
	for line := range strings.SplitSeq(text, "\n") {
		rest := strings.TrimPrefix(line[min(1, len(line)):], " ")
		switch {
		case strings.HasPrefix(line, ">"):
			if !inRequest {
				method, path, _ := strings.Cut(rest, " ")
				list = append(list, exchange{method: method, path: path})
			}
			inRequest, inBody = true, false
		case strings.HasPrefix(line, "<") && len(list) > 0:
			e := &list[len(list)-1]
			switch {
			case e.status == "":
				e.status = rest
			case inBody:
				e.body += rest
			case rest == "":
				inBody = true
			}
			inRequest = false
		case !strings.HasPrefix(line, "="):
			inRequest = false
		}
	}
	return list
}

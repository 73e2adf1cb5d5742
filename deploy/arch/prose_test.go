package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// vague finds words that hide the subject of a sentence: a comment names the caller, service or process instead.
var vague = regexp.MustCompile(`(?i)\b(nobody|somebody|shall|tells?|told)\b`)

// vagueMost is how many of these words the comments of the code may have. The number only goes down.
const vagueMost = 0

// TestCommentsNameTheirSubjects counts vague words in the comments of code that is neither a test nor generated.
func TestCommentsNameTheirSubjects(t *testing.T) {
	t.Parallel()
	var found []string
	comments := 0
	for _, module := range []string{"pkg", "services", "gateway", "proto", "deploy", "tools"} {
		err := filepath.WalkDir(filepath.Join("../..", module), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil || ast.IsGenerated(file) {
				return err
			}
			for _, group := range file.Comments {
				comments++
				for _, word := range vague.FindAllString(group.Text(), -1) {
					found = append(found, set.Position(group.Pos()).String()+": "+word)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if comments < 1000 {
		t.Errorf("found %d comments: the folders are out of date", comments)
	}
	if len(found) > vagueMost {
		t.Errorf("%d vague words, at most %d:\n%s", len(found), vagueMost, strings.Join(found, "\n"))
	}
}

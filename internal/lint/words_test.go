package lint

import (
	"go/ast"
	"regexp"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItKeepsTrue(t *testing.T) {
	documented := map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		documented[s.dir] = documented[s.dir] || s.file.Doc != nil
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no package comment", dir)
		}
	}
}

// badNames are names of packages and files that tell nothing.
var badNames = regexp.MustCompile(`(^|/)(utils?|common|helpers?|misc|types|consts?|constants)(_test)?(\.go|/)`)

func TestFilesAreNamedForTheirStory(t *testing.T) {
	for _, s := range sources(t) {
		if badNames.MatchString(s.path) {
			t.Errorf("%s: the name tells nothing", s.path)
		}
	}
}

// badWords are words docs/glossary.md has a better one for.
var badWords = []struct {
	pattern *regexp.Regexp
	say     string
}{
	{regexp.MustCompile(`(?i)\bfragments?\b`), "shard or chunk"},
	{regexp.MustCompile(`(?i)\bmetadata servers?\b`), "node: every node has the registry"},
	{regexp.MustCompile(`(?i)\b(slave|master)s?\b`), "follower, leader"},
	{regexp.MustCompile(`\bPGs?\b`), "group"},
	{regexp.MustCompile(`(?i)\breplicas? of (a |the )?(chunk|shard)s?\b`), "chunk: chunks are not copies"},
	{regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`), "nothing: do it, or open an issue"},
}

func TestWordsOfTheGlossary(t *testing.T) {
	for _, s := range sources(t) {
		if s.dir == "internal/lint" {
			continue
		}
		for _, words := range texts(s.file) {
			for _, bad := range badWords {
				if found := bad.pattern.FindString(words); found != "" {
					t.Errorf("%s: %q in %q; say %s", s.path, found, strings.TrimSpace(words), bad.say)
				}
			}
		}
	}
}

// texts returns the comments and the identifiers of a file.
func texts(f *ast.File) []string {
	var found []string
	for _, group := range f.Comments {
		found = append(found, group.Text())
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			found = append(found, id.Name)
		}
		return true
	})
	return found
}

func TestNothingRunsBeforeMain(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init", s.path)
			}
		}
	}
}

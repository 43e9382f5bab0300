package qingstor

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/compatibility.md anew")

const compatibilityFile = "../../docs/compatibility.md"

// findTable finds the table with that first line: what is before its rows, they
// themselves, and what follows.
func findTable(t *testing.T, text, head string) (before string, rows [][]string, after string) {
	t.Helper()
	before, rest, found := strings.Cut(text, head+"\n")
	rule, rest, _ := strings.Cut(rest, "\n")
	if !found || !strings.HasPrefix(rule, "|--") {
		t.Fatalf("docs/compatibility.md has no table %q", head)
	}
	before += head + "\n" + rule + "\n"
	for strings.HasPrefix(rest, "|") {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), " | ")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return before, rows, rest
}

// check compares the document with what the tables of the server say, or with
// -update writes it. What only people can say of a row stays with the row.
func check(t *testing.T, head string, generate func(old [][]string) [][]string) {
	t.Helper()
	text, err := os.ReadFile(compatibilityFile)
	if err != nil {
		t.Fatal(err)
	}
	before, old, after := findTable(t, string(text), head)
	var b strings.Builder
	b.WriteString(before)
	for _, row := range generate(old) {
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	b.WriteString(after)
	switch {
	case b.String() == string(text):
	case *update:
		if err := os.WriteFile(compatibilityFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		_, want, _ := findTable(t, b.String(), head)
		for _, row := range want {
			if !slices.ContainsFunc(old, func(o []string) bool { return slices.Equal(o, row) }) {
				t.Errorf("docs/compatibility.md lacks the row %q", row)
			}
		}
		t.Errorf("the table %q is not as the server has it: make generate", head)
	}
}

// rowStarting is the row with these first cells, nil if there is none.
func rowStarting(rows [][]string, cells ...string) []string {
	for _, row := range rows {
		if len(row) > len(cells) && slices.Equal(row[:len(cells)], cells) {
			return row
		}
	}
	return nil
}

func TestDocumentedOperations(t *testing.T) {
	check(t, "| operation | request | state | status | proved by |", func(old [][]string) (rows [][]string) {
		for _, r := range routes {
			op, asked, proof := "`"+r.op+"`", "`"+r.method+" "+map[level]string{serviceLevel: "/", bucketLevel: "/<bucket>", objectLevel: "/<key>"}[r.level]+"`", "`TestEveryRouteIsReached`"
			if row := rowStarting(old, op); len(row) == 5 {
				asked, proof = row[1], row[4]
			}
			state := "yes"
			if r.serve == nil {
				state = "no"
			}
			rows = append(rows, []string{op, asked, state, strconv.Itoa(samples[r.op].want), proof})
		}
		return rows
	})
}

func TestDocumentedErrors(t *testing.T) {
	check(t, "| status | code | when |", func(old [][]string) (rows [][]string) {
		for _, e := range append(slices.Clone(errorTable), internalError) {
			status, code := strconv.Itoa(e.status), "`"+e.code+"`"
			if rowStarting(rows, status, code) != nil {
				continue
			}
			when := e.message + "."
			if row := rowStarting(old, status, code); row != nil {
				when = row[2]
			}
			rows = append(rows, []string{status, code, when})
		}
		slices.SortFunc(rows, slices.Compare)
		return rows
	})
}

func TestDocumentedTestsExist(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"cluster", "clients"} {
		more, err := filepath.Glob("../../tests/" + dir + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	files = append(files, "../lifecycle_test.go")
	var source strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	text, err := os.ReadFile(compatibilityFile)
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	for _, name := range names {
		if !strings.Contains(source.String(), "func "+name[1]+"(t *testing.T)") {
			t.Errorf("docs/compatibility.md names %s, which does not exist", name[1])
		}
	}
	if len(names) < len(routes) {
		t.Errorf("only %d tests named for %d operations", len(names), len(routes))
	}
}

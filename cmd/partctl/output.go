package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Forms of the output. Both show the same fields.
const (
	formTable = "table"
	formJSON  = "json"
)

// print writes v as JSON, or lets table write it for people.
func (e *env) print(v any, table func(w io.Writer)) error {
	if e.output != formJSON {
		table(e.out)
		return nil
	}
	enc := json.NewEncoder(e.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// done is what a command did, or would do, to one thing.
type done struct {
	ID   string `json:"id"`
	Done bool   `json:"done"`
}

func (e *env) printDone(id, text string) error { return e.printOutcome(done{id, true}, text) }

func (e *env) printNotDone(id, text string) error { return e.printOutcome(done{id, false}, text) }

func (e *env) printOutcome(d done, text string) error {
	return e.print(d, func(w io.Writer) { fmt.Fprintln(w, text) })
}

// newTable returns a plain table: a header, columns, no lines.
func newTable(w io.Writer, header ...any) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.Style().Options = table.OptionsNoBordersAndSeparators
	t.Style().Format.Header = text.FormatDefault
	t.Style().Box.PaddingLeft = ""
	t.Style().Box.PaddingRight = "  "
	if len(header) > 0 {
		t.AppendHeader(header)
	}
	return t
}

// row is table.Row with less to read.
func row(cells ...any) table.Row { return cells }

// size writes bytes for people; JSON has the exact number.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 0 {
		return "?"
	}
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, u := float64(n)/(1<<10), 0
	for f >= 1<<10 {
		f, u = f/(1<<10), u+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}

func sizeInParts(n int64, parts int) string {
	if parts == 1 {
		return size(n) + " in 1 part"
	}
	return fmt.Sprintf("%s in %d parts", size(n), parts)
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// or returns s, or a dash for nothing.
func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// quoted shows a key as it is if a shell and a terminal would take it so, else
// in quotes with escapes: keys hold any byte.
func quoted(key string) string {
	for _, r := range key {
		if r <= ' ' || r == '"' || r == '\'' || r == '\\' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return strconv.Quote(key)
		}
	}
	return key
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// record is one line of a file of results: first the machine, then figures in
// the order of their measurement.
type record struct {
	Machine *machine `json:"machine,omitempty"`
	System  string   `json:"system,omitempty"`
	Row     string   `json:"row,omitempty"`
	Repeat  int      `json:"repeat,omitempty"`
	Report  *report  `json:"report,omitempty"`
	Micro   []micro  `json:"micro,omitempty"`
}

// results are the figures of one commit. What add was given is in the file, so
// that a run that ends early can be continued.
type results struct {
	machine machine
	records []record
	file    *os.File
}

// openResults opens the results at path, or begins them.
func openResults(path string, m machine, fresh bool) (_ *results, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	r := &results{machine: m}
	if !fresh {
		if err := r.read(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	flag := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if len(r.records) == 0 {
		flag |= os.O_TRUNC
	}
	if r.file, err = os.OpenFile(path, flag, 0o644); err != nil {
		return nil, err
	}
	if len(r.records) == 0 {
		err = r.add(record{Machine: &m})
	}
	return r, err
}

// read takes over what a file holds, and cuts a last line off that is not whole.
func (r *results) read(path string) error {
	rest, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole := 0
	for {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		var one record
		if !ended || json.Unmarshal(line, &one) != nil {
			break
		}
		whole, rest = whole+len(line)+1, after
		r.records = append(r.records, one)
	}
	if len(r.records) > 0 {
		if r.records[0].Machine == nil {
			return fmt.Errorf("%s does not begin with the machine; -fresh begins it anew", path)
		}
		r.machine = *r.records[0].Machine
	}
	return os.Truncate(path, int64(whole))
}

func (r *results) add(one record) error {
	line, err := json.Marshal(one)
	if err != nil {
		return err
	}
	if _, err := r.file.Write(append(line, '\n')); err != nil {
		return err
	}
	r.records = append(r.records, one)
	return nil
}

// Close closes the file.
func (r *results) Close() error { return r.file.Close() }

// has reports whether a row was measured in a repeat.
func (r *results) has(system, row string, repeat int) bool {
	return slices.ContainsFunc(r.records, func(o record) bool {
		return o.Report != nil && o.System == system && o.Row == row && o.Repeat == repeat
	})
}

// of returns the reports of a row, one for each repeat.
func (r *results) of(system, row string) (reports []report) {
	for _, o := range r.records {
		if o.Report != nil && o.System == system && o.Row == row {
			reports = append(reports, *o.Report)
		}
	}
	return reports
}

// systems are the stores with figures, the own one first.
func (r *results) systems() []string {
	list := []string{own}
	for _, o := range r.records {
		if o.Report != nil && !slices.Contains(list, o.System) {
			list = append(list, o.System)
		}
	}
	return list
}

// micro returns the newest results of Go's benchmarks.
func (r *results) micro() (newest []micro) {
	for _, o := range r.records {
		if o.Micro != nil {
			newest = o.Micro
		}
	}
	return newest
}

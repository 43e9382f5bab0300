package main

import (
	"fmt"
	"io"
	"time"
)

// progressEvery is how often a long command says how far it is.
const progressEvery = 2 * time.Second

// progress tells people how far a long command is, on stderr; programs get
// only the result.
type progress struct {
	out  io.Writer // nil: says nothing
	what string
	last time.Time
	said bool
}

func (e *env) newProgress(what string) *progress {
	p := &progress{what: what, last: time.Now()}
	if e.output != formJSON {
		p.out = e.err
	}
	return p
}

// rows says that n rows are done, now and then.
func (p *progress) rows(n int) {
	if n%4096 == 0 {
		p.say("%d rows", n)
	}
}

// say says how far it is, now and then.
func (p *progress) say(format string, args ...any) {
	if p.out == nil || time.Since(p.last) < progressEvery {
		return
	}
	p.last, p.said = time.Now(), true
	fmt.Fprintf(p.out, "\r%s: %s", p.what, fmt.Sprintf(format, args...))
}

func (p *progress) end() {
	if p.said {
		fmt.Fprintln(p.out)
	}
}

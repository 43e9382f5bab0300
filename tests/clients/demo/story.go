package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// story tells what happens, step by step. On a terminal a step that moves data
// shows a bar while it runs; elsewhere only its outcome is printed.
type story struct {
	out      io.Writer
	terminal bool
	step     int
}

func newStory(out io.Writer) *story {
	s := &story{out: out}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		s.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return s
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// do runs one step that moves size bytes (0 for one that moves none) and tells
// how it went. What the step returns is said below its line.
func (s *story) do(title string, size int64, f func(progress io.Writer) (detail string, err error)) error {
	s.step++
	b := &bar{story: s, title: fmt.Sprintf("%d. %s", s.step, title), size: size, began: time.Now()}
	b.draw()
	detail, err := f(b)
	took := time.Since(b.began)
	s.clear()
	mark := "ok"
	if err != nil {
		mark = "FAILED"
	}
	rate := ""
	if size > 0 && err == nil {
		rate = fmt.Sprintf(", %.0f MiB/s", float64(size)/(1<<20)/took.Seconds())
	}
	s.say("%-66s %6s  %.2f s%s", b.title, mark, took.Seconds(), rate)
	if detail != "" {
		s.say("   %s", strings.ReplaceAll(detail, "\n", "\n   "))
	}
	return err
}

func (s *story) clear() {
	if s.terminal {
		fmt.Fprint(s.out, "\r\x1b[K")
	}
}

// bar shows how far a step is. Write counts bytes; it may be called from many
// goroutines.
type bar struct {
	story *story
	title string
	size  int64
	began time.Time

	mu    sync.Mutex
	done  int64
	drawn time.Time
}

const barWidth = 24

func (b *bar) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += int64(len(p))
	if time.Since(b.drawn) > 100*time.Millisecond {
		b.draw()
	}
	return len(p), nil
}

func (b *bar) draw() {
	b.drawn = time.Now()
	if !b.story.terminal {
		return
	}
	fmt.Fprintf(b.story.out, "\r\x1b[K%s ", b.title)
	if b.size > 0 {
		filled := int(min(b.done, b.size) * barWidth / b.size)
		fmt.Fprintf(b.story.out, "[%s%s] %3d %%", strings.Repeat("#", filled), strings.Repeat(".", barWidth-filled), min(b.done, b.size)*100/b.size)
	} else {
		fmt.Fprint(b.story.out, "...")
	}
}

package qingstor

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// errFraming reports a message whose end is doubtful. The server answers it by
// 400 and closes, as it does with whatever it cannot read.
var errFraming = errors.New("the end of the message is doubtful")

// framing follows the requests on one connection, byte for byte, far enough to
// know where each ends. net/http does the same and is more tolerant: of two
// lengths it takes one, and a proxy before us may have taken the other. So a
// request is refused that has
//
//   - both a length and a coding, or either of them twice,
//   - a length that is not plain digits, or a coding other than chunked,
//   - a coding in a version of HTTP that has none,
//   - a line of the head or of a chunk that ends without CR LF, or has a CR elsewhere,
//   - a header continued on another line.
//
// What it lets through net/http reads as it does.
type framing struct {
	state  state
	left   int64  // of the body or the chunk
	line   []byte // begun and not ended, as far as it is kept
	cut    bool   // line was longer than that
	cr     bool   // the last byte was a CR
	lines  int    // of the head so far
	http11 bool   // as opposed to 1.0, which knows no coding

	length int64 // -1: none given
	coded  bool
	err    error // for good
}

type state int

const (
	inHead state = iota
	inPlainBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
)

// keptLine bounds what is kept of a line. No line that says where a message
// ends is longer.
const keptLine = 256

// inBody reports whether the client owes more of a body it announced.
func (f *framing) inBody() bool { return f.state != inHead }

// scan reads on and returns how many of the bytes may be handed on: all of them,
// or those before the one that decided that the message is refused.
func (f *framing) scan(p []byte) int {
	done := 0
	for done < len(p) && f.err == nil {
		if f.state == inPlainBody || f.state == inChunk {
			n := min(int64(len(p)-done), f.left)
			done, f.left = done+int(n), f.left-n
			if f.left == 0 && f.state == inChunk {
				f.state = inChunkEnd
			} else if f.left == 0 {
				f.state = inHead
			}
			continue
		}
		n, ended := f.take(p[done:])
		if ended && f.err == nil {
			f.endLine()
		}
		if f.err == nil {
			done += n
		}
	}
	return done
}

// take adds to the line up to its end.
func (f *framing) take(p []byte) (n int, ended bool) {
	n = bytes.IndexByte(p, '\n') + 1
	if ended = n > 0; !ended {
		n = len(p)
	}
	text := p[:n]
	if ended {
		text = text[:n-1]
		if len(text) == 0 && !f.cr || len(text) > 0 && text[len(text)-1] != '\r' {
			f.err = errFraming
			return n, true
		}
	}
	if len(text) == 0 {
		f.cr = false
		return n, ended
	}
	body := text[:len(text)-1]
	if f.cr || bytes.IndexByte(body, '\r') >= 0 {
		f.err = errFraming
		return n, ended
	}
	f.cr = text[len(text)-1] == '\r' && !ended
	if text[len(text)-1] == '\r' {
		text = body
	}
	f.keep(text)
	return n, ended
}

// keep adds text to the line: of the first line its end is kept, which has the
// version, of others the beginning.
func (f *framing) keep(text []byte) {
	room := keptLine - len(f.line)
	switch {
	case len(text) <= room:
		f.line = append(f.line, text...)
	case f.state == inHead && f.lines == 0:
		f.line = append(f.line, text...)
		f.line = append(f.line[:0], f.line[len(f.line)-keptLine:]...)
	default:
		f.cut = true
		f.line = append(f.line, text[:room]...)
	}
}

// endLine acts on a whole line.
func (f *framing) endLine() {
	line, cut := string(f.line), f.cut
	f.line, f.cut = f.line[:0], false
	switch f.state {
	case inChunkSize:
		f.chunk(line, cut)
	case inChunkEnd:
		f.state = inChunkSize
		f.refuse(line != "")
	case inTrailer:
		if line == "" {
			f.state = inHead
		}
	default:
		f.headLine(line, cut)
	}
}

func (f *framing) refuse(doubtful bool) {
	if doubtful {
		f.err = errFraming
	}
}

func (f *framing) headLine(line string, cut bool) {
	f.lines++
	switch {
	case f.lines == 1:
		f.length, f.coded = -1, false
		f.http11 = strings.HasSuffix(line, " HTTP/1.1")
		f.refuse(line == "")
	case line == "":
		f.endHead()
	case line[0] == ' ' || line[0] == '\t':
		f.err = errFraming
	default:
		f.header(line, cut)
	}
}

func (f *framing) header(line string, cut bool) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.Trim(value, " \t")
	switch trimmed := strings.TrimRight(name, " \t"); {
	case strings.EqualFold(trimmed, "Content-Length"):
		n, err := strconv.ParseInt(value, 10, 64)
		f.refuse(cut || name != trimmed || f.length >= 0 || err != nil || strings.Trim(value, "0123456789") != "")
		f.length = n
	case strings.EqualFold(trimmed, "Transfer-Encoding"):
		f.refuse(cut || name != trimmed || f.coded || !strings.EqualFold(value, "chunked"))
		f.coded = true
	}
}

func (f *framing) endHead() {
	f.lines = 0
	switch {
	case f.coded:
		f.state = inChunkSize
		f.refuse(f.length >= 0 || !f.http11)
	case f.length > 0:
		f.state, f.left = inPlainBody, f.length
	}
}

// chunk begins a chunk. What may follow its size on the line says nothing.
func (f *framing) chunk(line string, cut bool) {
	size, _, _ := strings.Cut(line, ";")
	size = strings.TrimRight(size, " \t")
	n, err := strconv.ParseInt(size, 16, 64)
	f.refuse(cut || err != nil || strings.Trim(size, "0123456789abcdefABCDEF") != "")
	f.state, f.left = inChunk, n
	if n == 0 {
		f.state = inTrailer
	}
}

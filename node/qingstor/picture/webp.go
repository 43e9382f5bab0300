package picture

import (
	"context"
	"encoding/binary"
	"image"
	"image/color"
	"io"
	"math/bits"
	"slices"
)

// maxWebPSide is how wide or high a WebP can be.
const maxWebPSide = 1 << 14

// encodeWebP writes a lossless WebP, for neither the standard library nor
// golang.org/x/image does. Each pixel is predicted from its neighbours and what
// remains is written in prefix codes; there are no references to earlier
// pixels. The format is that of the WebP Lossless Bitstream Specification.
func encodeWebP(ctx context.Context, w *boundedBuffer, m image.Image) error {
	const (
		predictor     = 0 // transforms
		subtractGreen = 2
		blockBits     = 9 // pixels that share a predictor, 512 each way: the largest
		selectMode    = 11
	)
	size := m.Bounds().Size()
	var counts [4][]int
	for i := range counts {
		counts[i] = make([]int, 256)
	}
	opaque := true
	err := residuals(ctx, m, func(p [4]uint8, a uint8) {
		opaque = opaque && a == 0xff
		for i, v := range p {
			counts[i][v]++
		}
	})
	if err != nil {
		return err
	}

	const head = "RIFF????WEBPVP8L????" // with two lengths that follow
	_, _ = w.Write([]byte(head))        // bitWriter meets the same error
	b := bitWriter{to: w}
	b.put(0x2f, 8)
	b.put(uint32(size.X-1), 14)
	b.put(uint32(size.Y-1), 14)
	b.put(map[bool]uint32{false: 1}[opaque], 1)
	b.put(0, 3) // version
	b.put(1|subtractGreen<<1, 3)
	b.put(1|predictor<<1, 3)
	b.put(blockBits-2, 3)
	b.put(0, 1) // the picture of predictors has no color cache
	for _, symbol := range []uint32{selectMode, 0, 0, 0, 0} {
		b.putOnly(symbol)
	}
	b.put(0, 3) // no more transforms, no color cache, one set of codes
	var codes [4][]code
	for i := range codes {
		alphabet := 256
		if i == 0 {
			alphabet += 24 // lengths of references
		}
		codes[i] = b.putCode(counts[i], alphabet)
	}
	b.putOnly(0) // distances of references
	err = residuals(ctx, m, func(p [4]uint8, _ uint8) {
		for i, v := range p {
			b.put(codes[i][v].bits, codes[i][v].length)
		}
	})
	if err != nil {
		return err
	}
	b.flush()
	length := w.Len() - len(head)
	if length%2 != 0 {
		b.put(0, 8)
		b.flush()
	}
	if b.err != nil {
		return b.err
	}
	binary.LittleEndian.PutUint32(w.Bytes()[4:], uint32(w.Len()-8))
	binary.LittleEndian.PutUint32(w.Bytes()[16:], uint32(length))
	return nil
}

// residuals yields what prediction leaves of each pixel, as green, red, blue
// and alpha, and its alpha itself.
func residuals(ctx context.Context, m image.Image, yield func(p [4]uint8, alpha uint8)) error {
	width := m.Bounds().Dx()
	above, row := make([][4]uint8, width), make([][4]uint8, width)
	return eachRow(ctx, m, func(y int, rgba []uint8) {
		for x := range row {
			c := plain(rgba[4*x:])
			row[x] = [4]uint8{c.G, c.R - c.G, c.B - c.G, c.A}
			var guess [4]uint8
			switch {
			case x == 0 && y == 0:
				guess[3] = 0xff
			case y == 0:
				guess = row[x-1]
			case x == 0:
				guess = above[x]
			default:
				guess = nearer(row[x-1], above[x], above[x-1])
			}
			var rest [4]uint8
			for i := range rest {
				rest[i] = row[x][i] - guess[i]
			}
			yield(rest, c.A)
		}
		above, row = row, above
	})
}

// plain is a pixel of an image.RGBA, not premultiplied.
func plain(p []uint8) color.NRGBA {
	if p[3] == 0xff {
		return color.NRGBA{p[0], p[1], p[2], p[3]}
	}
	return color.NRGBAModel.Convert(color.RGBA{p[0], p[1], p[2], p[3]}).(color.NRGBA)
}

// nearer is predictor 11: the left or the upper pixel, whichever is nearer to
// left + upper - corner.
func nearer(left, upper, corner [4]uint8) [4]uint8 {
	fromLeft, fromUpper := 0, 0
	for i := range corner {
		fromLeft += max(int(upper[i]), int(corner[i])) - min(int(upper[i]), int(corner[i]))
		fromUpper += max(int(left[i]), int(corner[i])) - min(int(left[i]), int(corner[i]))
	}
	if fromLeft < fromUpper {
		return left
	}
	return upper
}

// bitWriter writes bits, the lowest of each value first.
type bitWriter struct {
	to   io.Writer
	err  error // the first of to
	out  []byte
	held uint64
	n    int
}

func (b *bitWriter) put(v uint32, n int) {
	b.held |= uint64(v) << b.n
	for b.n += n; b.n >= 8; b.n -= 8 {
		b.out = append(b.out, byte(b.held))
		b.held >>= 8
	}
	if len(b.out) >= 4<<10 {
		b.send()
	}
}

func (b *bitWriter) send() {
	if b.err == nil {
		_, b.err = b.to.Write(b.out)
	}
	b.out = b.out[:0]
}

// flush fills the last byte up.
func (b *bitWriter) flush() {
	if b.n > 0 {
		b.put(0, 8-b.n)
	}
	b.send()
}

// putOnly writes a prefix code of one symbol, which then takes no bits.
func (b *bitWriter) putOnly(symbol uint32) {
	b.put(0b101, 3) // simple, one symbol, of 8 bits
	b.put(symbol, 8)
}

// code is how a symbol is written.
type code struct {
	bits   uint32
	length int
}

// putCode makes a prefix code for symbols that are so frequent, and writes it.
func (b *bitWriter) putCode(counts []int, alphabet int) []code {
	codes := make([]code, len(counts))
	if used := slices.IndexFunc(counts, func(n int) bool { return n > 0 }); !slices.ContainsFunc(counts[used+1:], func(n int) bool { return n > 0 }) {
		b.putOnly(uint32(used))
		return codes
	}
	lengths := codeLengths(counts)
	// The lengths are written in a code of their own, which has four bits for
	// each length from 0 to 15, and none for repetitions.
	b.put(0, 1)
	b.put(19-4, 4)
	for i := range 19 { // 17, 18, 0, 1, 2, 3, 4, 5, 16, 6, ...
		if i == 0 || i == 1 || i == 8 {
			b.put(0, 3)
		} else {
			b.put(4, 3)
		}
	}
	b.put(0, 1) // all lengths follow
	for i := range alphabet {
		length := 0
		if i < len(lengths) {
			length = lengths[i]
		}
		b.put(uint32(bits.Reverse8(uint8(length))>>4), 4)
	}
	next := uint32(0)
	for length := 1; length <= maxCodeLength; length++ {
		next <<= 1
		for i, l := range lengths {
			if l == length {
				codes[i] = code{bits.Reverse32(next) >> (32 - length), length}
				next++
			}
		}
	}
	return codes
}

const maxCodeLength = 15

// codeLengths are the lengths of Huffman's code for two or more symbols. A code
// that is too deep is made again with the counts nearer to each other.
func codeLengths(counts []int) []int {
	counts = slices.Clone(counts)
	for {
		lengths := huffman(counts)
		if slices.Max(lengths) <= maxCodeLength {
			return lengths
		}
		for i := range counts {
			if counts[i] > 0 {
				counts[i] = counts[i]/2 + 1
			}
		}
	}
}

func huffman(counts []int) []int {
	type tree struct {
		count   int
		symbols []int
	}
	var trees []tree
	for symbol, count := range counts {
		if count > 0 {
			trees = append(trees, tree{count, []int{symbol}})
		}
	}
	lengths := make([]int, len(counts))
	for len(trees) > 1 {
		slices.SortStableFunc(trees, func(a, b tree) int { return b.count - a.count })
		n := len(trees) - 2
		trees[n] = tree{trees[n].count + trees[n+1].count, slices.Concat(trees[n].symbols, trees[n+1].symbols)}
		trees = trees[:n+1]
		for _, symbol := range trees[n].symbols {
			lengths[symbol]++
		}
	}
	return lengths
}

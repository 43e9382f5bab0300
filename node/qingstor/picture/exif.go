package picture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"strings"
)

// maxEntries bounds what is read of one directory of a TIFF structure.
const maxEntries = 256

// Tags of TIFF 6.0 and Exif 2.3. Those of GPS are in a directory of their own,
// and are counted from gpsBase here.
const (
	tagMake         = 0x010f
	tagModel        = 0x0110
	tagOrientation  = 0x0112
	tagRowsPerStrip = 0x0116
	tagDateTime     = 0x0132
	tagTileWidth    = 0x0142
	tagTileLength   = 0x0143
	tagExif         = 0x8769
	tagGPS          = 0x8825
	tagExifVersion  = 0x9000
	tagFocalLength  = 0x920a
	gpsBase         = 0x10000
)

// tags are the values of a TIFF structure that can be read.
type tags map[int]value

// value is the bytes of one.
type value struct {
	kind  uint16
	bytes []byte
	order binary.ByteOrder
}

// readTags reads the first directory of a TIFF structure, which is also what
// Exif is made of, and those for Exif and GPS that it leads to. What is damaged
// is left out.
func readTags(b []byte) tags {
	found := tags{}
	if len(b) < 8 {
		return found
	}
	var order binary.ByteOrder
	switch string(b[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return found
	}
	readDirectory(found, b, order.Uint32(b[4:]), order, 0)
	for tag, base := range map[int]int{tagExif: 0, tagGPS: gpsBase} {
		if at, ok := found.number(tag); ok {
			readDirectory(found, b, at, order, base)
		}
	}
	return found
}

func readDirectory(found tags, b []byte, at uint32, order binary.ByteOrder, base int) {
	if uint64(at)+2 > uint64(len(b)) {
		return
	}
	count, entries := int(order.Uint16(b[at:])), b[at+2:]
	for range min(count, maxEntries) {
		if len(entries) < 12 {
			return
		}
		e := entries[:12]
		entries = entries[12:]
		kind, n := order.Uint16(e[2:]), uint64(order.Uint32(e[4:]))
		size := map[uint16]uint64{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1}[kind] * n
		data := e[8:]
		if size > 4 {
			from := uint64(order.Uint32(data))
			if from+size > uint64(len(b)) {
				continue
			}
			data = b[from:]
		}
		if tag := base + int(order.Uint16(e)); size > 0 {
			if _, twice := found[tag]; !twice {
				found[tag] = value{kind, data[:size], order}
			}
		}
	}
}

// number is the first number of a value.
func (t tags) number(tag int) (n uint32, ok bool) {
	switch v := t[tag]; v.kind {
	case 1:
		return uint32(v.bytes[0]), true
	case 3:
		return uint32(v.order.Uint16(v.bytes)), true
	case 4:
		return v.order.Uint32(v.bytes), true
	}
	return 0, false
}

// text is a value as a text: fractions as "a/b", with blanks between them.
func (t tags) text(tag int) string {
	v := t[tag]
	v.bytes = v.bytes[:min(len(v.bytes), maxText)]
	switch v.kind {
	case 2:
		text, _, _ := bytes.Cut(v.bytes, []byte{0})
		return strings.ToValidUTF8(string(bytes.TrimSpace(text)), "?")
	case 5:
		var fractions []string
		for b := v.bytes; len(b) >= 8; b = b[8:] {
			fractions = append(fractions, fmt.Sprintf("%d/%d", v.order.Uint32(b), v.order.Uint32(b[4:])))
		}
		return strings.Join(fractions, " ")
	}
	return ""
}

// turn is how the picture stands.
func (t tags) turn() turn {
	if n, ok := t.number(tagOrientation); ok && n >= 1 && n <= 8 {
		return turn(n)
	}
	return upright
}

// Markers of JPEG, ITU-T T.81, table B.1.
const (
	markerSOF0 = 0xc0
	markerSOF2 = 0xc2 // progressive
	markerSOS  = 0xda
	markerAPP1 = 0xe1
)

// segments are those of a JPEG before its pixels.
func segments(b []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for b = b[min(2, len(b)):]; len(b) >= 4 && b[0] == 0xff; {
			if b[1] == 0xff { // fill
				b = b[1:]
				continue
			}
			end := 2 + int(binary.BigEndian.Uint16(b[2:]))
			if b[1] == markerSOS || end < 4 || end > len(b) || !yield(b[1], b[4:end]) {
				return
			}
			b = b[end:]
		}
	}
}

// exifOf finds the tags of a picture.
func exifOf(f Format, b []byte) tags {
	switch f {
	case JPEG:
		for marker, segment := range segments(b) {
			if exif, ok := bytes.CutPrefix(segment, []byte("Exif\x00\x00")); ok && marker == markerAPP1 {
				return readTags(exif)
			}
		}
	case TIFF:
		return readTags(b)
	}
	return tags{}
}

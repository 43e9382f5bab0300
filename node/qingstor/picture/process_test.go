package picture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/image/tiff"

	"partstore/internal/testrand"
)

// generous are limits that no test here meets unless it means to.
var generous = Limits{Decoded: 64 << 20, Pixels: 1 << 20, Result: 8 << 20}

// corners are the colors of a test picture's quarters: upper left, upper right,
// lower left, lower right.
var corners = [4]color.RGBA{{0xff, 0, 0, 0xff}, {0, 0xff, 0, 0xff}, {0, 0, 0xff, 0xff}, {0xff, 0xff, 0, 0xff}}

// marked is a picture whose quarters differ.
func marked(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, corners[2*(2*y/h)+2*x/w])
		}
	}
	return m
}

// written is a picture in a format.
func written(t testing.TB, f Format, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch f {
	case JPEG:
		err = jpeg.Encode(&b, m, nil)
	case PNG:
		err = png.Encode(&b, m)
	case TIFF:
		err = tiff.Encode(&b, m, nil)
	case GIF:
		err = gif.Encode(&b, m, nil)
	case WebP:
		bounded := &boundedBuffer{most: 64 << 20, stopped: t.Context().Err}
		err = encodeWebP(t.Context(), bounded, m)
		b = bounded.Buffer
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// process does an action that must succeed, and reads the result.
func process(t *testing.T, picture []byte, action string, stamps ...[]byte) (image.Image, Format) {
	t.Helper()
	a, err := Parse(action)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Process(t.Context(), picture, a, stamps, generous)
	if err != nil {
		t.Fatalf("%s: %v", action, err)
	}
	s, err := open(r.Bytes)
	if err != nil {
		t.Fatalf("%s: the result: %v", action, err)
	}
	if r.Type != "image/"+string(s.format) {
		t.Errorf("%s: type %s of a %s", action, r.Type, s.format)
	}
	m, err := s.decode(t.Context())
	if err != nil {
		t.Fatalf("%s: the result: %v", action, err)
	}
	return m, s.format
}

// looksLike names the corners of a picture by the quarters of a marked one: 0
// to 3, and - for another color.
func looksLike(m image.Image) string {
	b, name := m.Bounds(), ""
	for _, at := range []image.Point{b.Min, {b.Max.X - 1, b.Min.Y}, {b.Min.X, b.Max.Y - 1}, b.Max.Sub(image.Pt(1, 1))} {
		is := "-"
		for i, c := range corners {
			if near(m.At(at.X, at.Y), c, 0x30) {
				is = fmt.Sprint(i)
			}
		}
		name += is
	}
	return name
}

func near(a, b color.Color, most int) bool {
	x, y := color.RGBAModel.Convert(a).(color.RGBA), color.RGBAModel.Convert(b).(color.RGBA)
	for _, d := range []int{int(x.R) - int(y.R), int(x.G) - int(y.G), int(x.B) - int(y.B), int(x.A) - int(y.A)} {
		if max(d, -d) > most {
			return false
		}
	}
	return true
}

func TestOperations(t *testing.T) {
	tests := []struct {
		action string
		w, h   int
		corner string
	}{
		{"crop:w_40,h_20", 40, 20, "0123"},
		{"crop:w_40,h_20,g_9", 40, 20, "0123"},
		{"crop:w_20,h_10,g_1", 20, 10, "0101"},
		{"crop:w_20,h_10,g_2", 20, 10, "1133"},
		{"crop:w_20,h_10,g_3", 20, 10, "2323"},
		{"crop:w_20,h_10,g_4", 20, 10, "0022"},
		{"crop:w_20,h_10,g_5", 20, 10, "0000"},
		{"crop:w_20,h_10,g_6", 20, 10, "1111"},
		{"crop:w_20,h_10,g_7", 20, 10, "2222"},
		{"crop:w_20,h_10,g_8", 20, 10, "3333"},
		{"crop:w_500", 80, 60, "0123"},
		{"crop:l_40", 40, 60, "1133"},
		{"crop:l_30,t_30", 50, 30, "2323"},
		{"crop:l_60,t_40,w_10,h_100", 10, 20, "3333"},
		{"rotate:a_0", 80, 60, "0123"},
		{"rotate:a_90", 60, 80, "2031"},
		{"rotate:a_180", 80, 60, "3210"},
		{"rotate:a_270", 60, 80, "1302"},
		{"resize:w_40", 40, 30, "0123"},
		{"resize:h_120", 160, 120, "0123"},
		{"resize:w_20,h_60,m_1", 20, 60, "0123"},
		{"resize:w_60,h_60,m_0", 60, 60, "----"},
		{"resize:w_60,h_60,m_2", 60, 60, "0123"},
		{"resize:m_1", 80, 60, "0123"},
		{"resize:w_1,h_1,m_1", 1, 1, "----"},
		{"crop:w_40,h_20,g_5|rotate:a_90|resize:w_30", 30, 60, "0000"},
		{"crop:l_30,t_20|rotate:a_90|resize:h_20,w_20,m_1", 20, 20, "2031"},
	}
	for _, format := range []Format{PNG, JPEG, TIFF, WebP} {
		picture := written(t, format, marked(80, 60))
		for _, tc := range tests {
			m, as := process(t, picture, tc.action)
			if got := m.Bounds().Size(); as != format || got != image.Pt(tc.w, tc.h) || looksLike(m) != tc.corner {
				t.Errorf("%s of a %s is a %s of %v with corners %s, want %dx%d with %s", tc.action, format, as, got, looksLike(m), tc.w, tc.h, tc.corner)
			}
		}
	}
}

func TestFormats(t *testing.T) {
	for _, from := range []Format{JPEG, PNG, TIFF, WebP} {
		for _, to := range []Format{JPEG, PNG, TIFF, WebP} {
			m, as := process(t, written(t, from, marked(33, 17)), "format:t_"+string(to))
			if as != to || m.Bounds().Size() != image.Pt(33, 17) || looksLike(m) != "0123" {
				t.Errorf("%s to %s: a %s of %v with corners %s", from, to, as, m.Bounds(), looksLike(m))
			}
		}
	}
	m, as := process(t, written(t, GIF, marked(80, 60)), "resize:w_40")
	if as != GIF || m.Bounds().Size() != image.Pt(40, 30) || looksLike(m) != "0123" {
		t.Errorf("a smaller GIF is a %s of %v with corners %s", as, m.Bounds(), looksLike(m))
	}
	picture := written(t, GIF, marked(8, 6))
	r, err := Process(t.Context(), picture, Action{save: &Target{"b", "k"}}, nil, generous)
	if err != nil || r.Type != "image/gif" || !bytes.Equal(r.Bytes, picture) {
		t.Errorf("what is only saved is changed: %s, %v", r.Type, err)
	}
}

// What is empty beside a resized picture is black, or transparent if the picture
// can be.
func TestPadding(t *testing.T) {
	through := image.NewNRGBA(image.Rect(0, 0, 40, 20))
	for y := range 20 {
		for x := range 20 {
			through.SetNRGBA(x, y, color.NRGBA{0xff, 0, 0, 0x80})
		}
	}
	for _, tc := range []struct {
		m    image.Image
		want color.Color
	}{{marked(40, 20), color.Black}, {through, color.Transparent}} {
		m, _ := process(t, written(t, PNG, tc.m), "resize:w_30,h_30")
		for _, y := range []int{0, 6, 23, 29} {
			if !near(m.At(15, y), tc.want, 0) {
				t.Errorf("%T: row %d is %v, want %v", tc.m, y, m.At(15, y), tc.want)
			}
		}
		if near(m.At(2, 15), tc.want, 0x30) {
			t.Errorf("%T: nothing in the middle", tc.m)
		}
	}
}

// The mean of a picture stays, whatever size it is brought to.
func TestScalingKeepsTheMean(t *testing.T) {
	rng := testrand.New(t)
	for range 30 {
		m := image.NewGray(image.Rect(0, 0, 1+rng.IntN(60), 1+rng.IntN(60)))
		flat := uint8(rng.IntN(256))
		for i := range m.Pix {
			m.Pix[i] = flat
		}
		size := image.Pt(1+rng.IntN(90), 1+rng.IntN(90))
		scaled, err := scale(t.Context(), m, m.Rect, size)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range scaled.Pix {
			if i%4 != 3 && v != flat || i%4 == 3 && v != 0xff {
				t.Fatalf("%v to %v: a pixel of %d is %d", m.Rect, size, flat, v)
			}
		}
	}
	m := image.NewGray(image.Rect(0, 0, 64, 64))
	for i := range m.Pix {
		m.Pix[i] = 255 * uint8(i%8/6) // a quarter of each run of eight
	}
	scaled, err := scale(t.Context(), m, m.Rect, image.Pt(8, 8))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range scaled.Pix {
		if x := i / 4 % 8; i%4 != 3 && x > 0 && x < 7 && (v < 0x3e || v > 0x42) {
			t.Fatalf("stripes of a quarter white, scaled down, have a pixel of %d", v)
		}
	}
}

// stood is a JPEG that Exif says stands in some way.
func stood(t testing.TB, m image.Image, how turn) []byte {
	t.Helper()
	exif := []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08" +
		"\x00\x03" + // make, orientation, GPS
		"\x01\x0f\x00\x02\x00\x00\x00\x06\x00\x00\x00\x32" +
		"\x01\x12\x00\x03\x00\x00\x00\x01\x00?\x00\x00" +
		"\x88\x25\x00\x04\x00\x00\x00\x01\x00\x00\x00\x38" +
		"\x00\x00\x00\x00" + "Apple\x00" +
		"\x00\x02" + // latitude, altitude reference
		"\x00\x02\x00\x05\x00\x00\x00\x02\x00\x00\x00\x56" +
		"\x00\x05\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00" +
		"\x00\x00\x00\x00" + "\x00\x00\x00\x28\x00\x00\x00\x01\x00\x00\x15\xd4\x00\x00\x00\x64")
	exif[bytes.IndexByte(exif, '?')] = byte(how)
	b := written(t, JPEG, m)
	segment := binary.BigEndian.AppendUint16([]byte{0xff, markerAPP1}, uint16(2+len(exif)))
	return slices.Concat(b[:2], segment, exif, b[2:])
}

// A picture is upright before anything is done to it.
func TestOrientation(t *testing.T) {
	upright := marked(80, 60)
	for how := turn(1); how <= 8; how++ {
		// How it must lie to be upright again: turns undo themselves but for two.
		lies := map[turn]turn{turnRight: turnLeft, turnLeft: turnRight}[how]
		if lies == 0 {
			lies = how
		}
		m, err := lies.apply(t.Context(), upright)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := process(t, stood(t, m, how), "crop:w_60,h_50,g_0")
		if looksLike(got) != "0123" || got.Bounds().Size() != image.Pt(60, 50) {
			t.Errorf("orientation %d: corners %s of %v", how, looksLike(got), got.Bounds())
		}
	}
}

func TestInfo(t *testing.T) {
	gray, through := image.NewGray(image.Rect(0, 0, 5, 4)), image.NewNRGBA(image.Rect(0, 0, 5, 4))
	withExif := Info{Width: 5, Height: 4, Orientation: 6, Type: JPEG, Space: "srgb", Make: "Apple", Latitude: "40/1 5588/100", AltitudeRef: "Sea level"}
	tests := []struct {
		name    string
		picture []byte
		action  string
		want    Info
	}{
		{"Exif", stood(t, marked(5, 4), turnRight), "info", withExif},
		{"gray", written(t, PNG, gray), "info", Info{Width: 5, Height: 4, Type: PNG, Space: "b-w"}},
		{"alpha", written(t, PNG, through), "info", Info{Width: 5, Height: 4, Type: PNG, Space: "srgb", Alpha: true}},
		{"opaque", written(t, PNG, marked(5, 4)), "info", Info{Width: 5, Height: 4, Type: PNG, Space: "srgb"}},
		{"GIF", written(t, GIF, marked(5, 4)), "info", Info{Width: 5, Height: 4, Type: GIF, Space: "srgb"}},
		{"what was changed", stood(t, marked(5, 4), turnRight), "resize:w_8|format:t_png|info", Info{Width: 8, Height: 10, Type: PNG, Space: "srgb"}},
	}
	for _, tc := range tests {
		a, err := Parse(tc.action)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Process(t.Context(), tc.picture, a, nil, generous)
		if err != nil || r.Info == nil || *r.Info != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", tc.name, r.Info, err, tc.want)
		}
	}
}

// differs is the smallest rectangle around the pixels in which two pictures
// differ.
func differs(a, b image.Image) (r image.Rectangle) {
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if !near(a.At(x, y), b.At(x, y), 0) {
				r = r.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	return r
}

func TestWatermark(t *testing.T) {
	white := image.NewRGBA(image.Rect(0, 0, 200, 100))
	for i := range white.Pix {
		white.Pix[i] = 0xff
	}
	picture := written(t, PNG, white)
	small, _ := process(t, picture, "watermark:t_5rC05Y2w5paH5a2X")
	large, _ := process(t, picture, "watermark:t_5rC05Y2w5paH5a2X,d_450,p_1,c_I0ZGMDAwMA")
	s, l := differs(white, small), differs(white, large)
	if s.Empty() || s.Min.X < 100 || s.Min.Y < 50 || s.Max.X > 190 || s.Max.Y > 90 || l.Dx() < 2*s.Dx() || l.Dy() < 2*s.Dy() {
		t.Errorf("the text is at %v, a larger one at %v", s, l)
	}
	darkest := func(m image.Image) color.RGBA {
		d := color.RGBA{0xff, 0xff, 0xff, 0xff}
		for y := range 100 {
			for x := range 200 {
				if c := color.RGBAModel.Convert(m.At(x, y)).(color.RGBA); c.G < d.G {
					d = c
				}
			}
		}
		return d
	}
	// A quarter of black on white, and all of red where letters are thick.
	if got := darkest(small); got.R != got.G || got.R < 0xbf || got.R > 0xe0 {
		t.Errorf("the text is %v", got)
	}
	if got := darkest(large); got.R != 0xff || got.G > 0x40 || got.G != got.B {
		t.Errorf("the red text is %v", got)
	}
	wide, _ := process(t, written(t, PNG, marked(20, 10)), "watermark:t_5rC05Y2w5paH5a2X,d_2000")
	if wide.Bounds().Size() != image.Pt(20, 10) {
		t.Errorf("a text wider than the picture makes it %v", wide.Bounds())
	}
	for _, text := range []string{"8J-Ygg", "YQpi"} { // an emoji, a line feed
		a, err := Parse("watermark:t_" + text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Process(t.Context(), picture, a, nil, generous); !errors.Is(err, ErrAction) {
			t.Errorf("text %s: %v", text, err)
		}
	}
}

func TestWatermarkImage(t *testing.T) {
	under, over := written(t, PNG, marked(80, 60)), written(t, JPEG, image.NewGray(image.Rect(0, 0, 10, 20)))
	m, _ := process(t, under, "watermark_image:u_YQ,l_5,t_7,p_1", over)
	if got, want := differs(marked(80, 60), m), image.Rect(5, 7, 15, 27); got != want || !near(m.At(6, 8), color.Black, 0) {
		t.Errorf("changed %v to %v, want %v", got, m.At(6, 8), want)
	}
	m, _ = process(t, under, "watermark_image:u_YQ,l_75,t_50,p_0.5|watermark_image:u_Yg", over, written(t, PNG, marked(2, 2)))
	if got, want := differs(marked(80, 60), m), image.Rect(0, 0, 80, 60); got != want || !near(m.At(79, 59), color.RGBA{0x80, 0x80, 0, 0xff}, 1) {
		t.Errorf("changed %v to %v, want %v", got, m.At(79, 59), want)
	}
}

// A WebP has exactly the pixels it is made of.
func TestWebPIsLossless(t *testing.T) {
	rng := testrand.New(t)
	for range 40 {
		m := image.NewRGBA(image.Rect(0, 0, 1+rng.IntN(70), 1+rng.IntN(70)))
		kind := rng.IntN(4)
		for i := range m.Pix {
			switch {
			case i%4 == 3:
				m.Pix[i] = 0xff
			case kind == 0: // noise
				m.Pix[i] = uint8(rng.IntN(256))
			case kind == 1: // few colors
				m.Pix[i] = uint8(rng.IntN(2)) * 0xff
			case kind == 2: // a very uneven distribution, so a deep code
				m.Pix[i] = uint8(min(255, rng.ExpFloat64()*9))
			}
		}
		got, format := process(t, written(t, PNG, m), "format:t_webp")
		if d := differs(m, got); format != WebP || !d.Empty() {
			t.Fatalf("%v of kind %d differs in %v", m.Rect, kind, d)
		}
	}
}

func TestCodeLengths(t *testing.T) {
	counts := make([]int, 40)
	counts[0], counts[1] = 1, 1
	for i := 2; i < len(counts); i++ { // the deepest code there is
		counts[i] = counts[i-1] + counts[i-2]
	}
	sum := 0.0
	for _, length := range codeLengths(counts) {
		if length < 1 || length > maxCodeLength {
			t.Fatalf("a length of %d", length)
		}
		sum += 1 / float64(int(1)<<length)
	}
	if sum != 1 {
		t.Errorf("the code fills %v of what there is", sum)
	}
}

// claiming is a PNG of one pixel whose header claims another size.
func claiming(t *testing.T, w, h uint32) []byte {
	t.Helper()
	b := written(t, PNG, marked(1, 1))
	binary.BigEndian.PutUint32(b[16:], w)
	binary.BigEndian.PutUint32(b[20:], h)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

func TestProcessRefuses(t *testing.T) {
	picture, small := written(t, PNG, marked(80, 60)), Limits{Decoded: 80 * 60 * 4, Pixels: 80 * 60, Result: 1 << 10}
	noise := image.NewRGBA(image.Rect(0, 0, 40, 40))
	rng := testrand.New(t)
	for i := range noise.Pix {
		noise.Pix[i] = uint8(rng.IntN(256)) | uint8(i%4/3*0xff)
	}
	tests := []struct {
		name    string
		picture []byte
		action  string
		stamps  [][]byte
		limits  Limits
		want    error
	}{
		{"as large as may be", picture, "rotate:a_90", nil, small, nil},
		{"a text", []byte("a text"), "info", nil, generous, ErrUnreadable},
		{"nothing", nil, "info", nil, generous, ErrUnreadable},
		{"half a header", picture[:20], "info", nil, generous, ErrUnreadable},
		{"half a picture", picture[:len(picture)-30], "rotate:a_0", nil, generous, ErrUnreadable},
		{"SVG", []byte("<svg></svg>"), "info", nil, generous, ErrUnreadable},
		{"a bomb", claiming(t, 1<<20, 1<<20), "resize:w_1", nil, generous, ErrTooLarge},
		{"a bomb beside", picture, "watermark_image:u_YQ", [][]byte{claiming(t, 1<<20, 1<<20)}, generous, ErrTooLarge},
		{"no picture beside", picture, "watermark_image:u_YQ", [][]byte{[]byte("a text")}, generous, ErrUnreadable},
		{"larger on the way", picture, "resize:w_81|crop:w_1", nil, small, ErrTooLarge},
		{"larger and described", picture, "resize:w_81|info", nil, small, ErrTooLarge},
		{"beside the picture", picture, "crop:l_80", nil, generous, ErrAction},
		{"beside the picture, described", picture, "crop:t_60|info", nil, generous, ErrAction},
		{"a large result", written(t, PNG, noise), "rotate:a_90", nil, small, ErrTooLarge},
		{"a large result, WebP", written(t, PNG, noise), "format:t_webp", nil, small, ErrTooLarge},
		{"a wide WebP", written(t, PNG, marked(maxWebPSide+1, 1)), "format:t_webp", nil, generous, ErrTooLarge},
		{"a GIF turned", written(t, GIF, marked(8, 6)), "rotate:a_90", nil, generous, ErrAction},
		{"a GIF as PNG", written(t, GIF, marked(8, 6)), "resize:w_1|format:t_png", nil, generous, ErrAction},
	}
	for _, tc := range tests {
		a, err := Parse(tc.action)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := Process(t.Context(), tc.picture, a, tc.stamps, tc.limits); !errors.Is(err, tc.want) {
			t.Errorf("%s: %s, %v, want %v", tc.name, r.Type, err, tc.want)
		}
	}
}

func TestProcessStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	picture := written(t, PNG, marked(80, 60))
	for _, action := range []string{"resize:w_5", "rotate:a_90", "format:t_webp", "format:t_jpeg"} {
		a, err := Parse(action)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Process(ctx, picture, a, nil, generous); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", action, err)
		}
	}
	for _, s := range []step{turnRight, resize{width: 5}} {
		if _, err := s.apply(ctx, marked(8, 6)); !errors.Is(err, context.Canceled) {
			t.Errorf("%T: %v", s, err)
		}
	}
}

// Decoding takes no more memory than was said before.
func TestCost(t *testing.T) {
	rng, area := testrand.New(t), image.Rect(0, 0, 400, 300)
	noise := func(pix []uint8) {
		for i := range pix {
			pix[i] = uint8(rng.Uint32())
		}
	}
	rgba, nrgba, gray, deep, few := image.NewRGBA(area), image.NewNRGBA(area), image.NewGray(area), image.NewNRGBA64(area), image.NewPaletted(area, color.Palette{color.Black, color.White})
	noise(nrgba.Pix)
	noise(gray.Pix)
	noise(deep.Pix)
	for i := range few.Pix {
		few.Pix[i] = uint8(rng.IntN(2))
	}
	for i := range rgba.Pix {
		rgba.Pix[i] = uint8(rng.Uint32()) | uint8(i%4/3*0xff)
	}
	var packed bytes.Buffer
	if err := tiff.Encode(&packed, rgba, &tiff.Options{Compression: tiff.Deflate}); err != nil {
		t.Fatal(err)
	}
	for name, picture := range map[string][]byte{
		"JPEG": written(t, JPEG, rgba), "gray JPEG": written(t, JPEG, gray), "PNG": written(t, PNG, rgba), "PNG with alpha": written(t, PNG, nrgba), "gray PNG": written(t, PNG, gray),
		"PNG of 16 bits": written(t, PNG, deep), "PNG of 1 bit": written(t, PNG, few), "GIF": written(t, GIF, few), "TIFF": written(t, TIFF, nrgba), "gray TIFF": written(t, TIFF, gray),
		"packed TIFF": packed.Bytes(), "WebP": written(t, WebP, rgba),
	} {
		s, err := open(picture)
		if err != nil {
			t.Fatal(name, err)
		}
		const coder = 192 << 10 // what a decoder has of its own
		var got int64
		for range 5 { // others in the process allocate too
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := s.decode(t.Context()); err != nil {
				t.Fatal(name, err)
			}
			runtime.ReadMemStats(&after)
			if got = int64(after.TotalAlloc - before.TotalAlloc); got <= s.cost()+coder {
				break
			}
		}
		if got > s.cost()+coder || s.cost() > 32*400*300 {
			t.Errorf("decoding a %s allocates %d bytes, said to be %d", name, got, s.cost())
		}
	}
}

// FuzzProcess holds that whatever a file claims, no more is allocated than the
// limits say.
func FuzzProcess(f *testing.F) {
	for _, format := range []Format{JPEG, PNG, GIF, TIFF, WebP} {
		f.Add(written(f, format, marked(12, 10)), "crop:w_9|resize:w_12,h_8")
	}
	f.Add(stood(f, marked(12, 10), 5), "rotate:a_90|watermark:t_YQ|format:t_webp")
	f.Add(written(f, PNG, marked(12, 10)), "resize:h_20|format:t_tiff|info")
	limits := Limits{Decoded: 1 << 20, Pixels: 1 << 14, Result: 1 << 18}
	// What is allocated in all, not at a time: by every step anew, and by
	// coders besides.
	const most = 24 << 20
	f.Fuzz(func(t *testing.T, picture []byte, action string) {
		a, err := Parse(action)
		if err != nil || len(a.Stamps()) > 0 {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := Process(t.Context(), picture, a, nil, limits)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > most+8*uint64(len(picture)) {
			t.Errorf("%d bytes allocated for %d", got, len(picture))
		}
		if err != nil {
			if !errors.Is(err, ErrAction) && !errors.Is(err, ErrUnreadable) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: %v", action, err)
			}
			return
		}
		if r.Info != nil {
			return
		}
		s, err := open(r.Bytes)
		if err != nil || len(a.steps) > 0 && s.size().X*s.size().Y > limits.Pixels {
			t.Errorf("%s: %v of %v", action, err, s.size())
		}
	})
}

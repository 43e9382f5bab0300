package clients

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/jpeg"
	_ "image/png" // decoded below
	"io"
	"math/rand/v2"
	"strings"

	sdk "github.com/qingstor/qingstor-sdk-go/v4/client/image"
	"github.com/qingstor/qingstor-sdk-go/v4/service"
)

// pictures does what the official suite does to a picture, and looks at what
// comes of it, which the suite does not.
func (s *officialSDK) pictures() {
	b := s.fresh("sdk-pictures")
	m := image.NewRGBA(image.Rect(0, 0, 800, 600))
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range m.Pix {
		m.Pix[i] = uint8(rng.Uint32())
	}
	var photo bytes.Buffer
	s.ok(jpeg.Encode(&photo, m, nil))
	for _, key := range []string{"test.jpg", "logo.jpg"} {
		_, err := b().PutObject(key, &service.PutObjectInput{Body: bytes.NewReader(photo.Bytes())})
		s.ok(err)
	}
	const text = "5rC05Y2w5paH5a2X" // four Chinese characters
	logo := base64.RawStdEncoding.EncodeToString([]byte(s.cluster.Nodes[0].Endpoint + "/sdk-pictures/logo.jpg"))
	for _, tc := range []struct {
		name string
		make func(*sdk.Image) *sdk.Image
		want string
		w, h int
	}{
		{"crop", func(i *sdk.Image) *sdk.Image {
			return i.Crop(&sdk.CropParam{Width: 300, Height: 400, Gravity: sdk.CropNorth})
		}, "jpeg", 300, 400},
		{"rotate", func(i *sdk.Image) *sdk.Image { return i.Rotate(&sdk.RotateParam{Angle: 90}) }, "jpeg", 600, 800},
		{"resize", func(i *sdk.Image) *sdk.Image {
			return i.Resize(&sdk.ResizeParam{Width: 500, Height: 500, Mode: sdk.ResizeThumbnail})
		}, "jpeg", 500, 500},
		{"watermark", func(i *sdk.Image) *sdk.Image { return i.WaterMark(&sdk.WaterMarkParam{Text: text, Opacity: 0.5}) }, "jpeg", 800, 600},
		{"watermark image", func(i *sdk.Image) *sdk.Image {
			return i.WaterMarkImage(&sdk.WaterMarkImageParam{Left: 10, Top: 10, Opacity: 2, URL: logo})
		}, "jpeg", 800, 600},
		{"chain", func(i *sdk.Image) *sdk.Image {
			return i.Crop(&sdk.CropParam{Width: 300}).Rotate(&sdk.RotateParam{Angle: 90}).Resize(&sdk.ResizeParam{Height: 200}).
				WaterMark(&sdk.WaterMarkParam{Text: text}).Format(&sdk.FormatParam{Type: "png"})
		}, "png", 400, 200},
	} {
		out, err := tc.make(sdk.Init(b(), "test.jpg")).Process()
		s.ok(err)
		body, err := io.ReadAll(out.Body)
		s.ok(err)
		got, format, err := image.DecodeConfig(bytes.NewReader(body))
		if err != nil || format != tc.want || got.Width != tc.w || got.Height != tc.h {
			s.Errorf("%s: a %s of %dx%d, %v, want a %s of %dx%d", tc.name, format, got.Width, got.Height, err, tc.want, tc.w, tc.h)
		}
	}
	for format, begin := range map[string]string{"jpeg": "\xff\xd8", "png": "\x89PNG", "tiff": "II*\x00", "webp": "RIFF"} {
		out, err := sdk.Init(b(), "test.jpg").Format(&sdk.FormatParam{Type: format}).Process()
		s.ok(err)
		body, err := io.ReadAll(out.Body)
		if s.ok(err); !strings.HasPrefix(string(body), begin) || *out.ContentLength != int64(len(body)) {
			s.Errorf("%s: %.8q, %d bytes of %d", format, body, len(body), *out.ContentLength)
		}
	}
	out, err := sdk.Init(b(), "test.jpg").Crop(&sdk.CropParam{Width: 300}).Info().Process()
	s.ok(err)
	var info struct {
		Width, Height int
		Type          string
	}
	s.ok(json.NewDecoder(out.Body).Decode(&info))
	if info.Width != 300 || info.Height != 600 || info.Type != "jpeg" {
		s.Errorf("info: %+v", info)
	}
	_, err = sdk.Init(b(), "test.jpg").Rotate(&sdk.RotateParam{Angle: 45}).Process()
	s.refused(err, 400, "invalid_argument")
	_, err = sdk.Init(b(), "missing").Info().Process()
	s.refused(err, 404, "object_not_exists")
}

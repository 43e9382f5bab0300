package picture

import (
	"encoding/base64"
	"errors"
	"image/color"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const text = "5rC05Y2w5paH5a2X" // the documentation's
	plain := lettering{text: "水印文字", size: 150, opacity: 0.25, color: color.NRGBA{A: 0xff}}
	red := plain
	red.opacity, red.size, red.color = 0.9, 300, color.NRGBA{R: 0xff, A: 0xff}
	url := "https://pek3a.qingstor.com/img-doc-eg/qincloud.png"
	tests := []struct {
		text string
		want Action
	}{
		{"info", Action{info: true}},
		{"crop:w_300,h_400,g_2", Action{steps: []step{crop{width: 300, height: 400, gravity: gravityEast}}}},
		{"crop:w_300,h_400,l_0,t_5", Action{steps: []step{crop{width: 300, height: 400, placed: true, top: 5}}}},
		{"crop:w_300,g_", Action{steps: []step{crop{width: 300}}}},
		{"rotate:a_270", Action{steps: []step{turnLeft}}},
		{"resize:w_0,h_0,m_1", Action{steps: []step{resize{mode: resizeStretch}}}},
		{"resize:w_300,h_400|rotate:a_90", Action{steps: []step{resize{300, 400, resizePad}, turnRight}}},
		{"watermark:t_" + text + ",c_", Action{steps: []step{plain}}},
		{"watermark:d_300,p_0.9,t_" + text + ",c_I0ZGMDAwMA", Action{steps: []step{red}}},
		{"watermark_image:u_aHR0cHM6Ly9wZWszYS5xaW5nc3Rvci5jb20vaW1nLWRvYy1lZy9xaW5jbG91ZC5wbmc,l_10,t_20,p_2",
			Action{steps: []step{stamp{url: url, left: 10, top: 20, opacity: 1}}}},
		{"format:t_webp", Action{format: WebP}},
		{"crop:w_1|format:t_png|save:b_my-bucket,k_a/b_c:d.png", Action{steps: []step{crop{width: 1}}, format: PNG, save: &Target{"my-bucket", "a/b_c:d.png"}}},
	}
	for _, tc := range tests {
		if got, err := Parse(tc.text); err != nil || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", tc.text, got, err, tc.want)
		}
	}
	a, err := Parse("watermark_image:u_" + base64.URLEncoding.EncodeToString([]byte("b?>")) + "|watermark_image:u_YQ==")
	if got := a.Stamps(); err != nil || !slices.Equal(got, []string{"b?>", "a"}) {
		t.Errorf("stamps %q, %v", got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", "|", "info|", "|info", "blur:r_5", "Info", "info:w_1", "info|rotate:a_90", "save:b_mybucket,k_a|info",
		"crop:w_-1", "crop:w_+1", "crop:w_1.5", "crop:w_65536", "crop:w_99999999999999999999", "crop:w", "crop:w_1,w_1", "crop:w_1,", "crop:x_1", "crop:w_1 ",
		"crop:g_0,l_1", "crop:g_1,t_1", "crop:g_10", "crop:w_0x1", "crop:w_1_0",
		"rotate", "rotate:a_", "rotate:a_45", "rotate:a_360", "rotate:a_-90", "resize:m_3", "resize:w_1,m_x",
		"watermark:p_1", "watermark:t_", "watermark:t_!!", "watermark:t_/w", "watermark:t_YQ,p_0", "watermark:t_YQ,p_-1", "watermark:t_YQ,p_NaN", "watermark:t_YQ,p_x",
		"watermark:t_YQ,d_20001", "watermark:t_YQ,c_I0ZGMDAw", "watermark:t_YQ,c_RkYwMDAwMA",
		"watermark:t_" + base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("a", maxText+1))),
		"watermark_image:l_1", "watermark_image:u_", "format", "format:t_gif", "format:t_PNG", "format:t_svg",
		"save", "save:b_mybucket", "save:k_a", "save:b_,k_a",
		strings.Repeat("rotate:a_90|", maxOperations) + "info",
	} {
		if a, err := Parse(text); !errors.Is(err, ErrAction) {
			t.Errorf("Parse(%q) = %+v, %v", text, a, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("crop:w_300,h_400,g_0|rotate:a_90|resize:w_5,m_1|format:t_png|info")
	f.Add("watermark:d_150,p_0.25,t_5rC05Y2w5paH5a2X,c_I0ZGMDAwMA|save:b_bucket,k_key")
	f.Add("watermark_image:l_0,t_0,p_0.25,u_aHR0cHM6Ly9h")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrAction) || !reflect.DeepEqual(a, Action{}) {
				t.Errorf("Parse(%q) = %+v, %v", text, a, err)
			}
			return
		}
		if len(a.steps) > maxOperations || len(a.steps) == 0 && !a.info && a.format == "" && a.save == nil {
			t.Errorf("Parse(%q) = %+v", text, a)
		}
	})
}

package prompt

import (
	"math"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	inkanpb "github.com/inkan-project/inkan/proto/inkan/v1"
	"github.com/inkan-project/inkan/token"
)

// Lengths of what is shown, in characters. They keep to the rules of PinPrompt
// and leave at least 3 KiB of a packet to the names of documents, even if
// every character takes four bytes.
const (
	maxCard    = 128
	maxCompany = 256
	maxProgram = 512
	maxPurpose = 64
	maxLabel   = 256
	maxName    = 256
	maxNames   = 16
)

// ellipsis stands for what was cut off.
const ellipsis = "…"

// promptPacket says everything the person should see. Names of documents that
// do not fit are left out, the last first; their number stays.
func promptPacket(id string, r Request) *inkanpb.PinPacket {
	p := &inkanpb.PinPrompt{
		PromptId:      id,
		Secret:        inkanpb.SecretKind(r.Ask),
		CardId:        head(string(r.Card), maxCard),
		Company:       head(r.Company, maxCompany),
		Program:       tail(r.Program, maxProgram),
		Pid:           r.PID,
		Purpose:       head(r.Purpose, maxPurpose),
		DocumentCount: uint32(min(max(r.DocumentCount, 0), math.MaxInt32)),
		TriesKnown:    r.TriesConfirmed,
		Timeout:       durationpb.New(r.Timeout),
		MinLength:     bytesOfPIN(r.Format.MinLength),
		MaxLength:     bytesOfPIN(r.Format.MaxLength),
		Virtual:       r.Virtual,
		KeyLabel:      head(r.KeyLabel, maxLabel),
		Confirmation:  r.Confirmation, ConfirmationReason: inkanpb.ConfirmationReason(r.Reason),
	}
	if n, known := r.Tries.Count(); known {
		p.TriesLeft = proto.Uint32(uint32(n))
	}
	for _, name := range r.DocumentNames[:min(len(r.DocumentNames), maxNames)] {
		p.DocumentNames = append(p.DocumentNames, head(name, maxName))
	}
	packet := &inkanpb.PinPacket{Packet: &inkanpb.PinPacket_Prompt{Prompt: p}}
	for proto.Size(packet) > maxPacket {
		p.DocumentNames = p.DocumentNames[:len(p.DocumentNames)-1]
	}
	return packet
}

func bytesOfPIN(n int) uint32 { return uint32(min(max(n, 0), token.PINCapacity)) }

// head makes text printable and keeps its beginning.
func head(text string, most int) string {
	runes := []rune(printable(text, most+1))
	if len(runes) > most {
		return string(runes[:most-1]) + ellipsis
	}
	return string(runes)
}

// tail makes text printable and keeps its end: of a path, the name.
func tail(text string, most int) string {
	runes := []rune(printable(text, len(text)))
	if len(runes) > most {
		return ellipsis + string(runes[len(runes)-most+1:])
	}
	return string(runes)
}

// printable returns the first characters of text with everything replaced
// that could mislead on a terminal or in a window: control characters, those
// that change the direction of writing, line breaks, invalid UTF-8. Private
// use characters stay: names of companies and people hold them (gaiji, 外字).
func printable(text string, most int) string {
	var b strings.Builder
	for _, r := range text {
		if most--; most < 0 {
			break
		}
		if !unicode.IsGraphic(r) && !unicode.Is(unicode.Co, r) {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}

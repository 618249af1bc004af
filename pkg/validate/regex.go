package validate

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
)

// MaxRegexCost bounds the size of a compiled regular expression, as Regex estimates it. RE2 gives up at some 130 000
// instructions (8 MiB, its default), and above the proxy's re2.max_program_size.error_level, which the bootstrap lifts far
// beyond that.
const MaxRegexCost = 100_000

// Regex says why Envoy would refuse a regular expression, or nil. Envoy's engine is RE2, whose syntax Go shares: there are no
// look-arounds and no back references. Envoy 1.37 reads expression and text as UTF-8, Envoy 1.40 as single bytes, so an
// expression must be good both ways, and characters above 0xFF cannot be written as escapes.
func Regex(expression string) error {
	program, err := compileRegex(expression)
	if err != nil {
		return err
	}
	if cost := regexCost(program); cost > MaxRegexCost {
		return fmt.Errorf("it is too large (%d, at most %d): reduce repetitions and character classes", cost, MaxRegexCost)
	}
	if escape := wideEscape(expression); escape != "" {
		return fmt.Errorf("escape %s stands for a character above \\x{FF}: write the character itself", escape)
	}
	_, err = compileRegex(bytewise(expression))
	return err
}

func compileRegex(expression string) (*syntax.Prog, error) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		var syntaxError *syntax.Error
		if errors.As(err, &syntaxError) {
			return nil, fmt.Errorf("%s at %q", syntaxError.Code, syntaxError.Expr)
		}
		return nil, errors.New("its syntax is wrong")
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, errors.New("it cannot be compiled")
	}
	return program, nil
}

// bytewise makes a character of every byte, as an engine does that knows no UTF-8.
func bytewise(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// wideEscape returns the first escape, \x{…} or octal, of a character above 0xFF. The expression has been parsed before.
func wideEscape(expression string) string {
	for i := 0; i+1 < len(expression); i++ {
		if expression[i] != '\\' {
			continue
		}
		rest := expression[i:]
		i++
		switch {
		case strings.HasPrefix(rest, `\x{`):
			digits, _, closed := strings.Cut(rest[3:], "}")
			if code, err := strconv.ParseUint(digits, 16, 32); closed && err == nil && code > 0xFF {
				return rest[:len(digits)+4]
			}
		case len(rest) >= 4:
			if code, err := strconv.ParseUint(rest[1:4], 8, 32); err == nil && code > 0xFF {
				return rest[:4]
			}
		}
	}
	return ""
}

// costPerRange is how many instructions RE2 needs at most, per range of characters, to match them as UTF-8 bytes.
const costPerRange = 8

// regexCost estimates RE2's program size, which counts bytes where Go's counts characters; it rather counts too much.
func regexCost(program *syntax.Prog) int {
	cost := 0
	for i := range program.Inst {
		cost++
		switch inst := &program.Inst[i]; inst.Op {
		case syntax.InstRune:
			cost += costPerRange * (len(inst.Rune) + 1) / 2
		case syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			cost += costPerRange
		}
	}
	return cost
}

// SPDX-License-Identifier: MIT
/*
 * A small printf formatter; pure.
 *
 * HR3 and GR0.
 */
#include "base/base.h"

struct out {
	char *buf;
	size_t size;
	size_t length;	/* what it would be if size were enough */
};

struct spec {
	bool left, zero, plus, space, alternate;
	int width;
	int precision;	/* -1: none */
	int bytes;	/* size of an integer argument */
};

static void put(struct out *o, char c)
{
	if (o->length + 1 < o->size)
		o->buf[o->length] = c;
	o->length++;
}

static void pad(struct out *o, char c, int count)
{
	while (count-- > 0)
		put(o, c);
}

static void put_field(struct out *o, const struct spec *s, const char *prefix, int zeros,
		      const char *text, int length)
{
	int total = zeros + length;
	const char *p;

	for (p = prefix; *p; p++)
		total++;
	if (!s->left)
		pad(o, ' ', s->width - total);
	for (p = prefix; *p; p++)
		put(o, *p);
	pad(o, '0', zeros);
	while (length-- > 0)
		put(o, *text++);
	if (s->left)
		pad(o, ' ', s->width - total);
}

static void put_number(struct out *o, const struct spec *s, const char *prefix,
		       uint64_t value, unsigned int base, bool upper)
{
	const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24];
	int first = sizeof(text), length, zeros = 0;

	for (uint64_t rest = value; rest; rest /= base)
		text[--first] = digits[rest % base];
	length = sizeof(text) - first;
	if (s->precision >= 0)
		zeros = s->precision - length;
	else if (s->zero && !s->left)
		zeros = s->width - length - (prefix[0] ? prefix[1] ? 2 : 1 : 0);
	if (zeros < 0)
		zeros = 0;
	if (!length && !zeros && s->precision)
		zeros = 1;
	put_field(o, s, prefix, zeros, text + first, length);
}

static void put_string(struct out *o, const struct spec *s, const char *text)
{
	int length = 0;

	if (!text)
		text = "(null)";
	while ((s->precision < 0 || length < s->precision) && text[length])
		length++;
	put_field(o, s, "", 0, text, length);
}

static int64_t narrow(int64_t value, int bytes, bool is_signed)
{
	int shift = 64 - 8 * bytes;

	return is_signed ? (int64_t)((uint64_t)value << shift) >> shift :
			   (int64_t)((uint64_t)value << shift >> shift);
}

static const char *parse_flags(const char *p, struct spec *s)
{
	for (;; p++) {
		if (*p == '-')
			s->left = true;
		else if (*p == '0')
			s->zero = true;
		else if (*p == '+')
			s->plus = true;
		else if (*p == ' ')
			s->space = true;
		else if (*p == '#')
			s->alternate = true;
		else
			return p;
	}
}

static const char *parse_int(const char *p, int *value)
{
	*value = 0;
	while (*p >= '0' && *p <= '9' && *value < 10000)
		*value = *value * 10 + *p++ - '0';
	return p;
}

static const char *parse_length(const char *p, struct spec *s)
{
	s->bytes = sizeof(int);
	switch (*p) {
	case 'h':
		s->bytes = p[1] == 'h' ? 1 : 2;
		return p + (p[1] == 'h' ? 2 : 1);
	case 'l':
		s->bytes = 8;
		return p + (p[1] == 'l' ? 2 : 1);
	case 'z':
	case 'j':
	case 't':
		s->bytes = 8;
		return p + 1;
	}
	return p;
}

static void put_signed(struct out *o, const struct spec *s, int64_t value)
{
	const char *prefix = value < 0 ? "-" : s->plus ? "+" : s->space ? " " : "";

	put_number(o, s, prefix, value < 0 ? -(uint64_t)value : (uint64_t)value, 10, false);
}

/*
 * Format into @buf, which always ends in NUL if it has any room.  Returns the length of the whole
 * text, which may be more than fits.
 */
size_t __dune_format(char *buf, size_t size, const char *fmt, va_list args)
{
	struct out o = { .buf = buf, .size = size };
	const char *p = fmt;

	while (*p) {
		struct spec s = { .precision = -1 };
		const char *start = p;
		uint64_t value;
		char c;

		if (*p != '%') {
			put(&o, *p++);
			continue;
		}
		p = parse_flags(p + 1, &s);
		if (*p == '*') {
			s.width = va_arg(args, int);
			if (s.width < 0) {
				s.left = true;
				s.width = -s.width;
			}
			p++;
		} else {
			p = parse_int(p, &s.width);
		}
		if (*p == '.') {
			if (*++p == '*') {
				s.precision = va_arg(args, int);
				p++;
			} else {
				p = parse_int(p, &s.precision);
			}
		}
		p = parse_length(p, &s);
		switch (*p) {
		case 'd':
		case 'i':
			value = s.bytes == 8 ? va_arg(args, int64_t) : va_arg(args, int);
			put_signed(&o, &s, narrow(value, s.bytes, true));
			break;
		case 'u':
		case 'x':
		case 'X':
		case 'o':
			value = s.bytes == 8 ? va_arg(args, uint64_t) : va_arg(args, unsigned int);
			value = narrow(value, s.bytes, false);
			put_number(&o, &s, !s.alternate || !value ? "" : *p == 'x' ? "0x" : *p == 'X' ? "0X" :
				   *p == 'o' ? "0" : "", value, *p == 'u' ? 10 : *p == 'o' ? 8 : 16, *p == 'X');
			break;
		case 'p':
			put_number(&o, &s, "0x", (uintptr_t)va_arg(args, void *), 16, false);
			break;
		case 'c':
			c = va_arg(args, int);
			put_field(&o, &s, "", 0, &c, 1);
			break;
		case 's':
			put_string(&o, &s, va_arg(args, const char *));
			break;
		case '%':
			put(&o, '%');
			break;
		default:	/* not known: show it */
			while (start < p)
				put(&o, *start++);
			continue;
		}
		p++;
	}
	if (size)
		buf[o.length < size ? o.length : size - 1] = '\0';
	return o.length;
}

package main

// tsServices makes the typed clients. runtime is where the modules of the package are
// seen from.
func tsServices(s *Schema, hash uint64, runtime string) []byte {
	t := &text{}
	t.p(`%[1]simport type { CallOptions, Caller, MethodInfo, SubscribeOptions } from '%[2]scaller.js';
import { RpcError } from '%[2]serrors.js';
import { Subscription } from '%[2]ssubscription.js';
import * as m from './messages.js';
import * as v from './verify.js';

/**
 * Of everything in the schema that is seen on the wire. Ends with different ones
 * understand each other all the same.
 */
export const schemaHash = 0x%016[3]xn;

/** BAD_BODY */
const badBody = 34;

function reader<T>(table: string, verify: (b: Uint8Array) => boolean, decode: (b: Uint8Array) => T): (b: Uint8Array) => T {
  return (b) => {
    if (!verify(b)) throw new RpcError(badBody, table + ': the body is not a valid one');
    return decode(b);
  };
}
`, tsHeader, runtime, hash)
	for _, o := range s.answers() {
		if mayBeNothing(o) {
			t.p("const read%[1]s = (b: Uint8Array): m.%[1]sT => whole%[1]s(b.length === 0 ? no%[1]s : b);\nconst no%[1]s = new Uint8Array([8, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0, 0]);\nconst whole%[1]s = reader('%[1]s', v.verify%[1]s, m.decode%[1]s);", o.Name)
			continue
		}
		t.p("const read%[1]s = reader('%[1]s', v.verify%[1]s, m.decode%[1]s);", o.Name)
	}
	t.p("")
	for _, svc := range s.Services {
		for _, m := range svc.Methods {
			t.p("const %s: MethodInfo = { id: 0x%04x, service: '%s', name: '%s', stream: %t, idempotent: %t, event: %d, timeoutMs: %d };",
				small(m.full()), m.Code(), svc.Name, m.Name, m.Event != nil, m.Idempotent, m.EventID, m.TimeoutMs)
		}
	}
	t.p("\n/** By their full names, such as 'Example.Sum'. */\nexport const methods: Record<string, MethodInfo> = {")
	for _, svc := range s.Services {
		for _, m := range svc.Methods {
			t.p("  '%s.%s': %s,", svc.Name, m.Name, small(m.full()))
		}
	}
	t.p("};\n")
	for _, svc := range s.Services {
		tsClient(t, svc)
	}
	t.p("/** All services on one connection. */\nexport class Services {")
	for _, svc := range s.Services {
		t.jsdoc("  ", svc.Doc)
		t.p("  readonly %s: %sClient;", small(svc.Name), svc.Name)
	}
	t.p("\n  constructor(c: Caller) {")
	for _, svc := range s.Services {
		t.p("    this.%s = new %sClient(c);", small(svc.Name), svc.Name)
	}
	t.p("  }\n}")
	return t.Bytes()
}

// answers are the tables that a client reads, by name.
func (s *Schema) answers() []*Object {
	used := map[*Object]bool{}
	for _, svc := range s.Services {
		for _, m := range svc.Methods {
			used[m.Response] = true
			used[m.Event] = true
		}
	}
	var out []*Object
	for _, o := range s.Tables {
		if used[o] {
			out = append(out, o)
		}
	}
	return out
}

func tsClient(t *text, s *Service) {
	t.jsdoc("", s.Doc)
	t.p("export class %sClient {\n  constructor(private readonly c: Caller) {}", s.Name)
	for _, m := range s.Methods {
		t.p("")
		t.jsdoc("  ", m.Doc)
		req := "req: m." + m.Request.Name + "Init"
		if !requires(m.Request) {
			req += " = {}"
		}
		info := small(m.full())
		if m.Event == nil {
			t.p("  async %s(%s, o?: CallOptions): Promise<m.%sT> {", small(m.Name), req, m.Response.Name)
			t.p("    return read%s(await this.c.call(%s, m.encode%s(this.c.builder(), req), o));\n  }", m.Response.Name, info, m.Request.Name)
			continue
		}
		t.p("  async %s(%s, o?: SubscribeOptions): Promise<Subscription<m.%sT, m.%sT>> {", small(m.Name), req, m.Response.Name, m.Event.Name)
		t.p("    const raw = await this.c.subscribe(%s, m.encode%s(this.c.builder(), req), o);", info, m.Request.Name)
		t.p("    try {\n      return new Subscription(raw, read%s(raw.answer), read%s);\n    } catch (err) {\n      raw.close();\n      throw err;\n    }\n  }", m.Response.Name, m.Event.Name)
	}
	t.p("}\n")
}

func requires(o *Object) bool {
	for _, f := range o.Fields {
		if f.Required {
			return true
		}
	}
	return false
}

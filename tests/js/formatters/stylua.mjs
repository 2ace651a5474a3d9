// Formats Lua files with StyLua: `node stylua.mjs --check|--write FILE ...`.
import { readFileSync, writeFileSync } from "node:fs";
import {
  CollapseSimpleStatement,
  Config,
  formatCode,
  IndentType,
  LuaVersion,
  OutputVerification,
  QuoteStyle,
} from "@johnnymorganz/stylua";

function config() {
  const style = Config.new();
  style.syntax = LuaVersion.Lua51;
  style.column_width = 120;
  style.indent_type = IndentType.Spaces;
  style.indent_width = 2;
  style.quote_style = QuoteStyle.AutoPreferSingle;
  style.collapse_simple_statement = CollapseSimpleStatement.Always;
  return style;
}

const [mode, ...files] = process.argv.slice(2);
let odd = 0;
for (const file of files) {
  const text = readFileSync(file, "utf8");
  // of an operation the first line, `#!lua flags=…`, is Redis'
  const head = text.startsWith("#!") ? text.slice(0, text.indexOf("\n") + 1) : "";
  const formatted = head + formatCode(text.slice(head.length), config(), undefined, OutputVerification.Full);
  if (formatted === text) continue;
  odd += 1;
  if (mode === "--write") writeFileSync(file, formatted);
  else console.error(`${file} is not formatted: run make fmt`);
}
process.exit(mode === "--write" || odd === 0 ? 0 : 1);

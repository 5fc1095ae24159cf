# What jq 1.8 has and jaq lacks, or does otherwise. Loaded last; replaces what has its name.

def toarray: if type == "array" then . else [.] end;
def toboolean:
  if type == "boolean" then .
  elif . == "true" then true elif . == "false" then false
  else error("cannot parse this as a boolean") end;
def abs: if type == "number" then (if . < 0 then - . else . end) else error("only a number has an absolute value") end;

def have_decnum: false;
def have_literal_numbers: true;
def finites: select(isinfinite or isnan | not);
def ascii: [.] | implode;

# Strings
def trimstr($x): ltrimstr($x) | rtrimstr($x);
def @base64d: tostring | try __decode_base64 catch error("the text is not valid base64");
def @base32: tostring | encode_base32;
def @base32d: tostring | decode_base32;
# Regular expressions
def capture_of_match: map(select(.name) | { (.name): .string } ) | add + {};
def __pattern($flags): if type == "array" then [.[0], (.[1] // "") + $flags] else [., $flags] end;
def test(re; flags): (re | __pattern(flags // "")) as [$r, $f] | matches($r; $f) | any;
def match(re; flags):
  (re | __pattern(flags // "")) as [$r, $f] | matches($r; $f)[] | .[0] + { captures: .[1:] };
def capture(re; flags): (re | __pattern(flags // "")) as [$r, $f] | matches($r; $f)[] | capture_of_match;
def scan(re; flags):
  (re | __pattern(flags // "")) as [$r, $f] | matches($r; $f + "g")[]
  | [.[].string] | if .[1] then .[1:] else .[0] end;
def split($sep):
  if type == "string" and ($sep | type) == "string" then . / $sep
  else error("split input and separator must be strings") end;
def split(re; flags): split_(re; (flags // "") + "g");
def splits(re; flags): split(re; flags) | .[];
def __results(f): if type == "array" then capture_of_match | f else . end;
def sub(re; f; flags):
  reduce split_matches(re; flags // "")[] as $x (""; . + ($x | __results(f)));
def gsub(re; f; flags): sub(re; f; "g" + (flags // ""));
def test(re): test(re; "");
def scan(re): scan(re; "");
def match(re): match(re; "");
def capture(re): capture(re; "");
def splits(re): splits(re; "");
def sub(re; f): sub(re; f; "");
def gsub(re; f): gsub(re; f; "");

# Time
def fromdate: fromdateiso8601;
def todate: todateiso8601;
def date: todateiso8601;
def dateadd(u; $n): . + $n;
def datesub(u; $n): . - $n;

# Streams, paths, SQL
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] |= $row);
def INDEX(f): INDEX(.[]; f);
def JOIN($idx; f): [.[] | [., $idx[f]]];
def JOIN($idx; stream; f): stream | [., $idx[f]];
def JOIN($idx; stream; f; join_expr): stream | [., $idx[f]] | join_expr;
def ascii(f): f | ascii;
def pick(f): . as $top | reduce path(f) as $p (null; setpath($p; $top | getpath($p)));
def tostream:
  path(def r: (.[]?|r), .; r) as $p | getpath($p)
  | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def fromstream(f):
  {x: null, e: false} as $init
  | foreach f as $i ($init;
      if .e then $init else . end
      | if $i | length == 2
        then setpath(["e"]; $i[0] | length == 0) | setpath(["x"] + $i[0]; $i[1])
        else setpath(["e"]; $i[0] | length == 1) end;
      if .e then .x else empty end);
def truncate_stream(stream):
  . as $n | null | stream | . as $input
  | if (.[0] | length) > $n then setpath([0]; .[0][$n:]) else empty end;
def from_entries:
  reduce .[] as $x ({};
    . + { ($x | if type == "object"
           then (if has("key") then .key elif has("k") then .k elif has("name") then .name
                 elif has("Name") then .Name elif has("Key") then .Key elif has("K") then .K
                 else null end)
           else . end
           | if type == "string" then . elif type == "null" then "null" else tojson end):
          ($x | if type == "object"
           then (if has("value") then .value elif has("v") then .v elif has("Value") then .Value
                 elif has("V") then .V else null end)
           else null end) });
def with_entries(f): to_entries | map(f) | from_entries;

# Formats
def @csv:
  map(if type == "string" then "\"" + (split("\"") | join("\"\"")) + "\""
      elif type == "number" or type == "boolean" then tojson
      elif . == null then ""
      else error("an array or object is not valid in a csv row") end) | join(",");
def @tsv:
  map(if type == "string" then
        (split("\\") | join("\\\\") | split("\t") | join("\\t")
         | split("\n") | join("\\n") | split("\r") | join("\\r"))
      elif type == "number" or type == "boolean" then tojson
      elif . == null then ""
      else error("an array or object is not valid in a tsv row") end) | join("\t");
def format($f):
  if $f == "text" then tostring elif $f == "json" then tojson
  elif $f == "csv" then @csv elif $f == "tsv" then @tsv
  elif $f == "html" then @html elif $f == "uri" then @uri elif $f == "sh" then @sh
  elif $f == "base64" then @base64 elif $f == "base64d" then @base64d
  elif $f == "base32" then @base32 elif $f == "base32d" then @base32d
  else error("this is not a format jq knows") end;

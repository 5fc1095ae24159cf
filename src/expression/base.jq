# What jaq's own definitions are to use instead of theirs. Loaded between jaq-core's and jaq-std's.

# jaq divides by zero for these; our division refuses to.
def nan: __nan;
def infinite: __infinite;
def isnan: type == "number" and . != .;
def isinfinite: . == __infinite or . == -__infinite;

def isboolean: type == "boolean";
def isnumber: type == "number";
def isstring: type == "string";
def isarray: type == "array";
def isobject: type == "object";
def booleans: select(type == "boolean");
def numbers: select(type == "number");
def strings: select(type == "string");
def arrays: select(type == "array");
def objects: select(type == "object");
def ltrimstr($x): if type == "string" and ($x | type) == "string" then __ltrimstr($x) else . end;
def rtrimstr($x): if type == "string" and ($x | type) == "string" then __rtrimstr($x) else . end;
def implode: try __implode catch error("implode takes an array of code points");

# Regular expressions: the cost is looked at first, and the pattern stays out of the message.
def matches($re; $flags):
  __regex($re) as $_ | try __matches($re; $flags)
  catch error("not a valid regular expression, its flags, or not a string");
def split_matches($re; $flags):
  __regex($re) as $_ | try __split_matches($re; $flags)
  catch error("not a valid regular expression, its flags, or not a string");
def split_($re; $flags):
  __regex($re) as $_ | try __split($re; $flags)
  catch error("not a valid regular expression, its flags, or not a string");

# The text that is not a time stays out of the message.
def strptime($f): try __strptime($f) catch error("the text does not fit the time format");
def __moment:
  if type == "number" then select(. > -377705116800 and . < 253402300800)
  elif type == "array" then select(.[1] | type == "number" and . >= 0 and . < 12)
  else . end;
def strftime($f): try (first(__moment, error) | __strftime($f)) catch error("not a time, or not a time format");
def mktime: try (first(__moment, error) | __mktime) catch error("mktime takes the broken down time of gmtime");
def gmtime: try (first(__moment, error) | __gmtime) catch error("gmtime takes seconds since 1970");
def fromdateiso8601: try __fromdateiso8601 catch error("not a date in ISO 8601 form");
def todateiso8601: try (first(__moment, error) | __todateiso8601) catch error("not seconds since 1970");

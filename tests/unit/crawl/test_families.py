"""For every language whose imports we follow, a small tree as people write it, and the edges in it."""

# ruff: noqa: E501 (a line of a tree is a line of the file that it stands for)

import pytest

from crawl.imports.families import FAMILIES, FAMILY_OF, edges
from crawl.imports.place import Source
from crawl.syntax import grammar_of, look

TREES: dict[str, dict[str, str]] = {
    "java": {
        "src/shop/Cart.java": "package shop;\nimport shop.money.*;\nimport java.util.List;\nimport static shop.util.Text.trim;\n"
        "public class Cart { List<Item> items; Price total() { return Tax.on(this); } }",
        "src/shop/Item.java": "package shop;\npublic class Item {}",
        "src/shop/Unused.java": "package shop;\nclass Unused {}",
        "src/shop/money/Price.java": "package shop.money;\npublic record Price(int cents) {}",
        "src/shop/money/Tax.java": "package shop.money;\npublic class Tax { static Price on(Object o) { return null; } }",
        "src/shop/util/Text.java": "package shop.util;\npublic class Text { static void trim() {} }",
    },
    "kotlin": {
        "app/Main.kt": "package app\nimport app.net.fetch\nimport app.model.*\nfun main() { val u: User = fetch(Settings.url) }",
        "app/Settings.kt": "package app\nobject Settings { val url = 1 }",
        "app/net/Http.kt": "package app.net\nfun fetch(x: Int) = x",
        "app/model/User.kt": "package app.model\nclass User\nclass Admin",
        "app/model/Other.kt": "package app.model\nclass Other",
    },
    "scala": {
        "Main.scala": "package app\nimport app.core.{Engine, Plan => P}\nimport app.log._\nobject Main extends Base { Log.info(new Engine) }",
        "Base.scala": "package app\ntrait Base",
        "core/Engine.scala": "package app.core\nclass Engine",
        "core/Plan.scala": "package app.core\nclass Plan",
        "log/Log.scala": "package app.log\nobject Log { def info(x: Any) = x }",
        "log/Sink.scala": "package app.log\nclass Sink",
    },
    "c-sharp": {
        "App.cs": "using Shop.Money;\nusing System;\nnamespace Shop.Web { class App : Base { Price p; } }",
        "Base.cs": "namespace Shop { class Base {} }",
        "Price.cs": "namespace Shop.Money;\npublic struct Price {}",
        "Tax.cs": "namespace Shop.Money;\npublic class Tax {}",
    },
    "php": {
        "src/App.php": "<?php\nnamespace Shop;\nuse Shop\\Money\\Price;\nrequire __DIR__ . '/boot.php';\nclass App extends Base { function p(): Price { return new Price(); } }",
        "src/Base.php": "<?php\nnamespace Shop;\nclass Base {}",
        "src/Money/Price.php": "<?php\nnamespace Shop\\Money;\nclass Price {}",
        "src/boot.php": "<?php echo 1;",
    },
    "dart": {
        "lib/main.dart": "import 'package:shop/src/cart.dart';\nimport 'dart:io';\nimport 'src/price.dart' as p;\npart 'main.g.dart';\nvoid main() {}",
        "lib/src/cart.dart": "import '../main.dart';\nclass Cart {}",
        "lib/src/price.dart": "class Price {}",
        "lib/main.g.dart": "part of 'main.dart';",
    },
    "lua": {
        "main.lua": 'local a = require("game.map")\nrequire "game"\nlocal s = "require(\'no\')"',
        "game/init.lua": "return {}",
        "game/map.lua": "return {}",
    },
    "perl": {
        "bin/run.pl": "use strict;\nuse Shop::Cart;\nuse parent qw(Shop::Base);\nrequire './setup.pl';\n1;",
        "bin/setup.pl": "1;",
        "lib/Shop/Cart.pm": "package Shop::Cart;\n1;",
        "lib/Shop/Base.pm": "package Shop::Base;\n1;",
    },
    "julia": {
        "src/Shop.jl": 'module Shop\ninclude("cart.jl")\ninclude("sub/price.jl")\nend',
        "src/cart.jl": "x = 1",
        "src/sub/price.jl": "y = 1",
    },
    "haskell": {
        "app/Main.hs": "module Main where\nimport qualified Shop.Cart as C\nimport Data.List (sort)\nmain = pure ()",
        "src/Shop/Cart.hs": "module Shop.Cart (x) where\nimport Shop.Price\nx = 1",
        "src/Shop/Price.hs": "module Shop.Price where\ny = 1",
    },
    "elixir": {
        "lib/shop.ex": "defmodule Shop do\n  alias Shop.{Cart, Price}\n  use Shop.Web\n  def x, do: Shop.Util.go(1)\nend",
        "lib/cart.ex": "defmodule Shop.Cart do\nend",
        "lib/price.ex": "defmodule Shop.Price do\nend",
        "lib/web.ex": "defmodule Shop.Web do\nend",
        "lib/util.ex": "defmodule Shop.Util do\n  def go(x), do: x\nend",
    },
    "erlang": {
        "src/shop.erl": '-module(shop).\n-behaviour(shop_base).\n-include("shop.hrl").\n-include_lib("kernel/include/file.hrl").\n-export([a/0]).\na() -> cart:new(lists:seq(1, 2)).\n',
        "src/cart.erl": "-module(cart).\n-export([new/1]).\nnew(X) -> X.\n",
        "src/shop_base.erl": "-module(shop_base).\n",
        "include/shop.hrl": "-record(item, {name}).\n",
    },
    "ocaml": {
        "bin/main.ml": "open Shop\nlet () = Cart.run (Price.of_int 1); print_endline (String.trim x)",
        "lib/cart.ml": "let run x = x",
        "lib/price.ml": "let of_int x = x",
        "lib/shop.ml": "let a = 1",
    },
    "solidity": {
        "contracts/Shop.sol": 'import "./Cart.sol";\nimport {Price} from "lib/Price.sol";\nimport "@oz/x.sol";\ncontract Shop {}',
        "contracts/Cart.sol": "contract Cart {}",
        "contracts/lib/Price.sol": "contract Price {}",
    },
    "protocol-buffer": {
        "proto/shop/api.proto": 'syntax = "proto3";\nimport "shop/item.proto";\nimport public "google/protobuf/any.proto";\nmessage A {}',
        "proto/shop/item.proto": 'syntax = "proto3";\nmessage Item {}',
    },
    "thrift": {
        "api.thrift": 'include "shared/item.thrift"\nstruct A { 1: i32 a }',
        "shared/item.thrift": "struct Item { 1: i32 a }",
    },
    "verilog": {
        "rtl/top.v": '`include "defs.vh"\nmodule top(input clk);\n  counter #(.W(8)) u0 (.clk(clk));\nendmodule\n',
        "rtl/counter.v": "module counter(input clk);\nendmodule\n",
        "rtl/inc/defs.vh": "`define W 8\n",
    },
    "vhdl": {
        "top.vhd": "library ieee;\nuse ieee.std_logic_1164.all;\nuse work.Types.all;\nentity top is end;\n"
        "architecture rtl of top is\nbegin\n  u0: entity work.Counter port map (clk => clk);\nend;\n",
        "types.vhd": "package types is end;\n",
        "counter.vhd": "entity counter is end;\n",
    },
    "cmake": {
        "CMakeLists.txt": "include(cmake/Warn.cmake)\ninclude(Find)\nadd_subdirectory(src)\ninclude(${CMAKE_CURRENT_SOURCE_DIR}/cmake/Opt.cmake)\n",
        "cmake/Warn.cmake": "set(a 1)\n",
        "cmake/Find.cmake": "set(a 1)\n",
        "cmake/Opt.cmake": "set(a 1)\n",
        "src/CMakeLists.txt": "add_library(a a.c)\n",
    },
    "shell": {
        "bin/run.sh": 'source ../lib/log.sh\n. "$(dirname "$0")/env.sh"\nsource "$ROOT/lib/net.sh"\necho source no.sh\n',
        "bin/env.sh": "A=1\n",
        "lib/log.sh": "B=1\n",
        "lib/net.sh": "C=1\n",
    },
    "tex": {
        "main.tex": "\\documentclass{thesis}\n\\usepackage{amsmath,macros}\n\\begin{document}\\input{parts/intro}\\include{parts/end}\\end{document}",
        "thesis.cls": "\\ProvidesClass{thesis}",
        "macros.sty": "\\newcommand{\\a}{b}",
        "parts/intro.tex": "Intro.",
        "parts/end.tex": "End.",
    },
    "r": {
        "run.R": 'source("R/load.R")\nlibrary(dplyr)\nsource(file.path("R", "no.R"))\n',
        "R/load.R": "x <- 1\n",
        "R/no.R": "x <- 1\n",
    },
    "zig": {
        "src/main.zig": 'const std = @import("std");\nconst cart = @import("shop/cart.zig");\n',
        "src/shop/cart.zig": 'const main = @import("../main.zig");\n',
    },
    "cuda": {
        "src/a.cu": '#include "k.cuh"\n#include <vector>\n__global__ void f() {}\n',
        "include/k.cuh": "#define A 1\n",
    },
}

EDGES = """
java src/shop/Cart.java: src/shop/Item.java src/shop/money/Price.java src/shop/money/Tax.java src/shop/util/Text.java
java src/shop/money/Tax.java: src/shop/money/Price.java
kotlin app/Main.kt: app/Settings.kt app/model/User.kt app/net/Http.kt
scala Main.scala: Base.scala core/Engine.scala core/Plan.scala log/Log.scala
c-sharp App.cs: Base.cs Price.cs
php src/App.php: src/Base.php src/Money/Price.php src/boot.php
dart lib/main.dart: lib/main.g.dart lib/src/cart.dart lib/src/price.dart
dart lib/src/cart.dart: lib/main.dart
lua main.lua: game/init.lua game/map.lua
perl bin/run.pl: bin/setup.pl lib/Shop/Base.pm lib/Shop/Cart.pm
julia src/Shop.jl: src/cart.jl src/sub/price.jl
haskell app/Main.hs: src/Shop/Cart.hs
haskell src/Shop/Cart.hs: src/Shop/Price.hs
elixir lib/shop.ex: lib/cart.ex lib/price.ex lib/util.ex lib/web.ex
erlang src/shop.erl: include/shop.hrl src/cart.erl src/shop_base.erl
ocaml bin/main.ml: lib/cart.ml lib/price.ml lib/shop.ml
solidity contracts/Shop.sol: contracts/Cart.sol contracts/lib/Price.sol
protocol-buffer proto/shop/api.proto: proto/shop/item.proto
thrift api.thrift: shared/item.thrift
verilog rtl/top.v: rtl/counter.v rtl/inc/defs.vh
vhdl top.vhd: counter.vhd types.vhd
cmake CMakeLists.txt: cmake/Find.cmake cmake/Opt.cmake cmake/Warn.cmake src/CMakeLists.txt
shell bin/run.sh: bin/env.sh lib/log.sh lib/net.sh
tex main.tex: macros.sty parts/end.tex parts/intro.tex thesis.cls
r run.R: R/load.R
zig src/main.zig: src/shop/cart.zig
zig src/shop/cart.zig: src/main.zig
cuda src/a.cu: include/k.cuh
"""


def sources_of(language: str) -> list[Source]:
    found = []
    for path, text in TREES[language].items():
        grammar = grammar_of(language, path)
        assert grammar is not None
        seen = look(text.encode(), grammar)
        found.append(Source(path, language, seen.imports, seen.declares, seen.mentions, seen.defines))
    return found


@pytest.mark.parametrize("language", TREES)
def test_a_tree_has_the_edges_that_a_reader_sees(language: str) -> None:
    lines = [line.split() for line in EDGES.strip().splitlines() if line.startswith(f"{language} ")]
    expected = sorted((importer.rstrip(":"), path) for _, importer, *paths in lines for path in paths)
    assert edges(sources_of(language)) == expected
    assert edges(sources_of(language)[::-1]) == expected


def test_every_family_has_a_tree_here_or_a_test_of_its_own() -> None:
    elsewhere = {"python", "javascript", "go", "rust", "ruby", "c", "cpp"}
    assert all(set(family.languages) & (set(TREES) | elsewhere) for family in FAMILIES)
    assert len(FAMILY_OF) == 33

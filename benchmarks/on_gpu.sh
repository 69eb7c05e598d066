#!/usr/bin/env bash
# What one GPU is asked in 12 minutes: a cohort, BrainLDM's size, every control, CPU against GPU, priors.
#
#   OUT=work/on_gpu benchmarks/on_gpu.sh          on a machine with a GPU
#   TOY=1 OUT=/tmp/toy benchmarks/on_gpu.sh       everything small, on the CPU: a trial, no figures
#
# In this order, each into $OUT/NAME.json with $OUT/NAME.log beside it; what is there is skipped, and what
# fails or runs out of time does not stop the rest:
#   cohort      `vcmaug generate --gpus 1` of the demo, with a control trained before
#   sampling    BrainLDM's size in bfloat16, batch 1 and 8, and its share of what a matrix product reaches
#   controls    a training step and a sampling step of every control at that size
#   difference  the first images of that cohort, drawn on the CPU, against those of the GPU
#   prior-*     the priors of the recipes, until the time is over; each goes on from its checkpoint
#
# MINUTES (12), PYTHON (.venv/bin/python where it is, else python), WORK ($OUT/work: cases, checkpoints), and
# VCMAUG_DATA for the priors (ixi_t1w_2mm, task04_hippocampus) may be set. PACK=1 puts checkpoints and
# finished priors into $OUT/priors.tar.* in pieces of 15 MiB at the end; they are unpacked at the start
# where WORK is not there. It installs nothing: `pip install -e '.[demo]'` must have been done.
set -uo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
cd "$ROOT" || exit 2
TOY=${TOY:-0}
OUT=${OUT:-work/on_gpu}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
WORK=${WORK:-$OUT/work}
END=$(($(date +%s) + 60 * ${MINUTES:-12}))
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python)}
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH} PYTHONWARNINGS=ignore PYTHONUNBUFFERED=1
PIECES="$PYTHON benchmarks/gpu_pieces.py"

"$PYTHON" -c "import vcmaug, torch, monai, torchio, distributed, nilearn, yaml" || {
    echo "Something is not installed for $PYTHON. Run: pip install -e '.[demo]'" >&2
    exit 2
}
if [ -n "${VCMAUG_DATA:-}" ]; then
    VCMAUG_DATA=$(cd "$VCMAUG_DATA" && pwd) || exit 2
    export VCMAUG_DATA
fi
if [ "$TOY" = 1 ]; then
    export CUDA_VISIBLE_DEVICES=""
    SIZE=toy N=4 NUM_CPU=4 ON_GPU="--workers 0" ON_CPU="--workers 0" FLAG=--toy ROUNDS=1
else
    "$PYTHON" -c "import torch; raise SystemExit(not torch.cuda.is_available())" || {
        echo "PyTorch sees no GPU here. TOY=1 tries everything on the CPU." >&2
        exit 2
    }
    SIZE=small N=256 NUM_CPU=16 ON_GPU="--gpus 1" ON_CPU="--workers 4" FLAG="" ROUNDS=5
fi
if [ -e "$OUT/priors.tar.aa" ] && [ ! -e "$WORK" ]; then
    mkdir -p "$WORK" && cat "$OUT"/priors.tar.* | tar -x -C "$WORK"
fi
mkdir -p "$WORK"
RECIPE=$WORK/demo.yaml
COHORT=replicates/n$([ "$TOY" = 1 ] && echo 2 || echo 4)-s0/cohort

vcmaug() { "$PYTHON" -m vcmaug.cli.main "$@"; }
left() { echo $((END - $(date +%s))); }

# piece NAME COMMAND...: what a command prints last becomes $OUT/NAME.json
piece() {
    local name=$1 began
    shift
    [ -e "$OUT/$name.json" ] && { echo "$name: is there"; return; }
    [ "$(left)" -le 0 ] && { echo "$name: no time left"; return; }
    began=$(date +%s)
    # a function cannot be given to timeout, so this script is called for it
    if timeout -k 10 "$(left)" "$0" --piece "$@" > "$OUT/$name.part" 2>> "$OUT/$name.log"; then
        tail -n 1 "$OUT/$name.part" > "$OUT/$name.json.part" && mv "$OUT/$name.json.part" "$OUT/$name.json"
        echo "$name: done in $(($(date +%s) - began)) s"
    else
        echo "$name: failed or out of time, see $OUT/$name.log"
        tail -n 3 "$OUT/$name.log"
    fi
    rm -f "$OUT/$name.part"
}

cohort() {
    $PIECES recipe "$SIZE" "$RECIPE"
    vcmaug prepare "$RECIPE" --out "$WORK/demo/cases" || return
    vcmaug train-prior "$RECIPE" --out "$WORK/demo" || return # that of the zoo
    vcmaug train-control "$RECIPE" --out "$WORK/demo" || return
    vcmaug build-conditions "$RECIPE" --out "$WORK/demo" --n "$N" || return
    vcmaug generate "$RECIPE" --out "$WORK/demo" --n "$N" $ON_GPU || return
    $PIECES cohort "$WORK/demo/$COHORT"
}

difference() {
    [ -e "$WORK/demo/$COHORT/cohort.json" ] || { echo "there is no cohort yet" >&2; return 1; }
    rm -rf "$WORK/demo-cpu"
    cp -r "$WORK/demo" "$WORK/demo-cpu" && rm -rf "${WORK:?}/demo-cpu/$COHORT"
    vcmaug generate "$RECIPE" --out "$WORK/demo-cpu" --n "$NUM_CPU" $ON_CPU || return
    $PIECES difference "$WORK/demo/$COHORT" "$WORK/demo-cpu/$COHORT"
}

controls() {
    "$PYTHON" benchmarks/brainldm.py --rounds "$ROUNDS" $FLAG \
        --sampling-batch "$([ "$TOY" = 1 ] && echo 1 || echo 8)"
}

# prior NAME RECIPE [OPTIONS]: trains until the time is over; $OUT/NAME.json means it is finished
prior() {
    local name=$1 recipe=$2
    shift 2
    [ -e "$OUT/$name.json" ] && { echo "$name: is there"; return; }
    [ "$(left)" -le 0 ] && { echo "$name: no time left"; return; }
    [ -e "$WORK/$name/cases" ] ||
        timeout "$(left)" "$PYTHON" -m vcmaug.cli.main prepare "$recipe" --out "$WORK/$name/cases" "$@" \
            >> "$OUT/$name.log" 2>&1
    timeout -k 10 "$(left)" "$PYTHON" -m vcmaug.cli.main train-prior "$recipe" --out "$WORK/$name" "$@" \
        >> "$OUT/$name.log" 2>&1
    $PIECES training "$WORK/$name" "$OUT/$name.log" 2> /dev/null > "$OUT/$name.progress.json"
    if [ -e "$WORK/$name/prior/card.json" ]; then
        mv "$OUT/$name.progress.json" "$OUT/$name.json"
        echo "$name: finished"
    else
        echo "$name: goes on next time"
        tail -n 1 "$OUT/$name.log"
    fi
}

if [ "${1:-}" = --piece ]; then
    shift
    "$@"
    exit
fi
piece cohort cohort
piece sampling $PIECES sampling $FLAG
piece controls controls
piece difference difference
if [ "$TOY" = 1 ]; then
    prior prior-toy "$RECIPE" --profile prior
elif [ -n "${VCMAUG_DATA:-}" ]; then
    prior prior-brain-mini-4mm recipes/brain-mini/recipe.yaml --profile 4mm
    prior prior-hippocampus recipes/hippocampus/recipe.yaml
    prior prior-brain-mini recipes/brain-mini/recipe.yaml
else
    echo "priors: VCMAUG_DATA names no folder of data"
fi
if [ "${PACK:-0}" = 1 ]; then
    (cd "$WORK" && find . -path './prior-*' \( -path '*/prior/*' -o -name recipe.json \) -type f -print0 |
        tar --null -T - -cf - | split -b 15M - "$OUT/priors.tar.")
fi

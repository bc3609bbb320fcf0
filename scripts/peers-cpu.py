#!/usr/bin/env python3
"""What CTranslate2 and transformers do with a T5Gemma 2 on a processor, beside `server bench`.

    peers-cpu.py WORK_DIR [--shape 2-270m] [--engines ct2-int8,hf-bfloat16] [--source 256] [--target 64] [--batch 1,8]
    peers-cpu.py WORK_DIR --long 1024,4096,16384,32768 [--engines hf-bfloat16]

WORK_DIR/SHAPE gets a random checkpoint of the shape in the published layout, which `server bench --model` measures as
well, and WORK_DIR/SHAPE-ct2-KIND what CTranslate2 makes of it. Greedy, ids in and out, no end token. A line of JSON for
each engine and batch size, medians of three: `encode_ms` is the time from the sources to the first tokens of the whole
batch, `step_ms` that of one further token. With --long, one source of each length is measured in a process of its own:
time to its first token, and the largest resident memory with and without the weights alone.

Run with a python that has torch, transformers (5.17.0) and ctranslate2 (4.8.5).
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

VOCAB = 262144
SHAPES = {
    "2-270m": dict(hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4,
                   num_key_value_heads=1, sliding_window=512),
    "2-1b": dict(hidden_size=1152, intermediate_size=6912, num_hidden_layers=26, num_attention_heads=4,
                 num_key_value_heads=1, sliding_window=512),
    "2-4b": dict(hidden_size=2560, intermediate_size=10240, num_hidden_layers=34, num_attention_heads=8,
                 num_key_value_heads=4, sliding_window=1024),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work")
    parser.add_argument("--shape", choices=SHAPES, default="2-270m")
    parser.add_argument("--engines", default="ct2-int8,hf-bfloat16")
    parser.add_argument("--source", type=int, default=256)
    parser.add_argument("--target", type=int, default=64)
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--long", help="lengths of single sources")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def checkpoint(asked):
    """The folder of the random checkpoint, made once."""
    folder = f"{asked.work}/{asked.shape}"
    if os.path.exists(f"{folder}/config.json"):
        return folder
    import torch
    from transformers import T5Gemma2Config, T5Gemma2ForConditionalGeneration

    size = SHAPES[asked.shape]
    kinds = ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(size["num_hidden_layers"])]
    ropes = {
        "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        "full_attention": {"rope_theta": 1000000.0, "rope_type": "linear", "factor": 8.0},
    }
    stack = dict(size, head_dim=256, query_pre_attn_scalar=256, vocab_size=VOCAB, max_position_embeddings=32768,
                 layer_types=kinds, rope_parameters=ropes)
    # Texts do not pass the tower.
    tower = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=1)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = T5Gemma2Config(encoder=dict(text_config=dict(stack), vision_config=tower), decoder=dict(stack))
    model = T5Gemma2ForConditionalGeneration(config)
    generation = model.generation_config
    generation.decoder_start_token_id, generation.eos_token_id, generation.pad_token_id = 2, 1, 0
    model.save_pretrained(folder)
    return folder


def ctranslate2_engine(folder, kind, asked):
    """Runs a batch through CTranslate2, which is converted from the checkpoint once."""
    import ctranslate2
    from ctranslate2.converters import TransformersConverter, transformers

    out = f"{folder}-ct2-{kind}"
    if not os.path.exists(out):
        # The converter asks a tokenizer for its vocabulary and special tokens; names of ids do for random weights.
        def name_tokens(loader, config, model, tokenizer):
            config.decoder_start_token = config.bos_token = "t2"
            config.eos_token, config.unk_token = "t1", "t3"

        class Converter(TransformersConverter):
            def load_tokenizer(self, *unused, **also_unused):
                return None

        loader = transformers.T5Gemma2Loader
        loader.get_vocabulary = lambda *unused: [f"t{index}" for index in range(VOCAB)]
        loader.set_config = name_tokens
        Converter(folder).convert(out, quantization=kind)
    translator = ctranslate2.Translator(out, device="cpu", intra_threads=asked.threads, inter_threads=1)

    def run(sources, tokens):
        named = [[f"t{token}" for token in source] for source in sources]
        limits = dict(max_decoding_length=tokens, min_decoding_length=tokens, max_input_length=0)
        results = translator.translate_batch(named, beam_size=1, **limits)
        assert all(len(result.hypotheses[0]) == tokens for result in results)

    return run


def transformers_engine(folder, kind, asked):
    """Runs a batch through transformers, with the attention that it takes by itself."""
    import torch
    from transformers import T5Gemma2ForConditionalGeneration

    torch.set_num_threads(asked.threads)
    model = T5Gemma2ForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, kind)).eval()
    print(f"attention: {model.config._attn_implementation}", file=sys.stderr)

    def run(sources, tokens):
        ids = torch.tensor(sources)
        limits = dict(max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, num_beams=1)
        with torch.no_grad():
            output = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **limits)
        assert output.shape[1] == tokens + 1

    return run


def source(number, tokens):
    return [2] + [10 + (number * 7919 + index * 104729) % 250000 for index in range(tokens - 1)]


def seconds(run, sources, tokens):
    start = time.perf_counter()
    run(sources, tokens)
    return time.perf_counter() - start


def measure_batches(name, run, asked):
    run([source(0, asked.source)], 2)
    for batch in map(int, asked.batch.split(",")):
        sources = [source(number, asked.source) for number in range(batch)]
        rounds = [(seconds(run, sources, 1), seconds(run, sources, asked.target)) for _ in range(asked.rounds)]
        first, whole = (statistics.median(times) for times in zip(*rounds))
        step = (whole - first) / (asked.target - 1)
        print(json.dumps(dict(engine=name, shape=asked.shape, source=asked.source, target=asked.target, batch=batch,
                              encode_ms=round(first * 1e3, 1), step_ms=round(step * 1e3, 2))), flush=True)


def resident_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def measure_long(name, run, tokens):
    run([source(0, 16)], 1)
    before = resident_mib()
    taken = seconds(run, [source(0, tokens)], 1)
    print(json.dumps(dict(engine=name, source=tokens, first_token_s=round(taken, 2),
                          largest_resident_mib=resident_mib(), before_mib=before)), flush=True)


def main():
    asked = arguments()
    folder = checkpoint(asked)
    lengths = asked.long.split(",") if asked.long else []
    if len(lengths) > 1:
        for engine in asked.engines.split(","):
            for tokens in lengths:
                command = [sys.executable, __file__, asked.work, "--shape", asked.shape, "--engines", engine]
                ended = subprocess.run(command + ["--long", tokens, "--threads", str(asked.threads)], check=False)
                if ended.returncode != 0:
                    print(json.dumps(dict(engine=engine, source=int(tokens), failed=ended.returncode)), flush=True)
        return
    for name in asked.engines.split(","):
        library, kind = name.split("-")
        make = {"ct2": ctranslate2_engine, "hf": transformers_engine}[library]
        run = make(folder, kind, asked)
        if lengths:
            measure_long(name, run, int(lengths[0]))
        else:
            measure_batches(name, run, asked)


if __name__ == "__main__":
    main()

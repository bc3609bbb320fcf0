"""Opens checkpoint folders in transformers, strictly, and prints what it computes from given tokens.

    check-transformers.py [--source 2,5,9] [--target 2,7] FOLDER...

Each folder is opened with the class that its config.json names, in float32 with eager attention. Tensors that the class
misses or does not know, or whose shapes differ, are an error. The source goes to the encoder (or is the whole text of a
decoder-only model), the target to the decoder. Prints one JSON line a folder: folder, architecture, parameters, logits.

A classifier of a T5Gemma 2 is an encoder with a head. transformers has none without a decoder, so one is made beside
it, which nothing reads: the scores are those of the head for the encoder's state of the last token.
"""

import argparse
import json
import os
import sys

import torch
import transformers


# Parts of the names of the tensors that read images.
IMAGES = ("vision_tower.", "multi_modal_projector.")


def token_ids(text):
    return [int(token) for token in text.split(",")]


def configuration(folder):
    """The folder's configuration, with a decoder where transformers asks for one."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        fields = json.load(file)
    if fields["architectures"] == ["T5Gemma2ForSequenceClassification"] and not fields["is_encoder_decoder"]:
        return transformers.T5Gemma2Config(**fields | {"is_encoder_decoder": True}), ("decoder.",)
    return transformers.AutoConfig.from_pretrained(folder, local_files_only=True), ()


def opened(folder):
    """The model, refused unless its tensors are exactly those of its class, and parts of the names of tensors that
    are not the folder's."""
    config, added = configuration(folder)
    model_class = getattr(transformers, config.architectures[0])
    model, report = model_class.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        attn_implementation="eager",
        local_files_only=True,
        output_loading_info=True,
    )
    # A T5Gemma 2 that was adapted from texts alone has no image tower; transformers makes one all the same.
    may_lack = IMAGES + added
    report["missing_keys"] = {name for name in report["missing_keys"] if not any(part in name for part in may_lack)}
    wrong = {kind: sorted(map(str, names)) for kind, names in report.items() if names}
    if wrong:
        sys.exit(f"{folder}: the tensors are not those of {model_class.__name__}: {wrong}")
    return model.eval(), added


def logits(model, source, target, added):
    source, target = torch.tensor([source]), torch.tensor([target])
    with torch.no_grad():
        if added:
            output = model.score(model.model.encoder(input_ids=source).last_hidden_state[:, -1])
        elif model.config.is_encoder_decoder:
            output = model(input_ids=source, decoder_input_ids=target, use_cache=False).logits
        else:
            output = model(input_ids=source).logits
    # A row a token, or the one row of a classifier.
    return output.reshape(-1, output.shape[-1]).double().tolist()


def main():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=token_ids, default=[2, 10, 11, 12, 13])
    parser.add_argument("--target", type=token_ids, default=[2, 10, 11])
    parser.add_argument("folders", metavar="FOLDER", nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for folder in arguments.folders:
        model, added = opened(folder)
        own = [weight for name, weight in model.named_parameters() if not any(part in name for part in added)]
        line = {
            "folder": folder,
            "architecture": type(model).__name__,
            "parameters": sum(weight.numel() for weight in own),
            "logits": logits(model, arguments.source, arguments.target, added),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

"""Tiny random models that make images and captions, and data sets with holes."""

import io
from pathlib import Path

import numpy as np
import torch
from conftest import word_tokenizer
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as Pictures
from transformers import (
    BertConfig,
    BertLMHeadModel,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

SIZE = 16
WIDE = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}


def save_pipeline(folder: Path) -> Path:
    """A Stable Diffusion of random weights that makes images of 16 x 16 pixels."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    tokenizer.model_max_length = 16
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), max_position_embeddings=16, eos_token_id=1, pad_token_id=0, **WIDE
    )
    unet = UNet2DConditionModel(
        sample_size=SIZE // 2,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(32, 32),
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIZE,
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_captioner(folder: Path) -> Path:
    """A ViT that feeds a BERT which writes."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    encoder = ViTModel(ViTConfig(image_size=SIZE, patch_size=8, **WIDE))
    sizes = {**WIDE, "max_position_embeddings": 32, "initializer_range": 0.5}
    decoder = BertLMHeadModel(
        BertConfig(vocab_size=len(tokenizer), is_decoder=True, add_cross_attention=True, pad_token_id=0, **sizes)
    )
    model = VisionEncoderDecoderModel(encoder=encoder, decoder=decoder)
    for config in (model.config, model.generation_config):
        config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 2, 0, 1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ViTImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return folder


def save_blip(folder: Path) -> Path:
    """A BLIP of random weights."""
    torch.manual_seed(0)
    tokenizer = word_tokenizer()
    vision = {"image_size": SIZE, "patch_size": 8, "projection_dim": 16, **WIDE}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "encoder_hidden_size": 32, **WIDE}
    text |= {"bos_token_id": 2, "sep_token_id": 1, "eos_token_id": 1, "pad_token_id": 0, "initializer_range": 0.5}
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    BlipForConditionalGeneration(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    BlipImageProcessor(size={"height": SIZE, "width": SIZE}).save_pretrained(folder)
    return folder


def png(seed: int, size: int = SIZE) -> bytes:
    """An image of noise."""
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    Pictures.fromarray(noise).save(stream, format="PNG")
    return stream.getvalue()


def rows(texts, images=None, labels=None) -> Dataset:
    """Rows of texts, of images (None where missing), and of labels."""
    columns, features = {"text": texts}, {"text": Value("string")}
    if images is not None:
        columns["image"] = [image and {"bytes": image, "path": None} for image in images]
        features["image"] = Image()
    if labels is not None:
        columns["label"], features["label"] = labels, ClassLabel(names=["neg", "pos"])
    return Dataset.from_dict(columns, Features(features))


def saved_rows(folder: Path, data: Dataset) -> Path:
    """A data set's folder as `load_dataset` reads it."""
    (folder / "data").mkdir(parents=True)
    data.to_parquet(folder / "data" / "train.parquet")
    return folder

"""The node's configuration: one `node.toml`, overridden by `LODESTONE_…` variables, read and validated once.

An unknown key is refused with the nearest right one: a misspelt limit that is silently ignored is a limit that is not
there. Environment variables join section and key by two underscores: `LODESTONE_NODE__PORT=11113`.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from dicom_io.network import peers
from node.errors import InvalidSettings
from node.kspace_settings import KspaceSection
from node.object_kinds import USUAL_KINDS, ObjectKind
from node.rule_settings import RoutingSection, Rule
from node.settings_errors import nearest, sentences

SQLITE_PREFIX = "sqlite:///"
DICOM_KEYS = ("ae_title", "host", "port")
WEB_KEYS = ("url", "user", "password_file", "token_file", "ca_file")
NEEDED_KEYS = (*DICOM_KEYS, "url")


def _ae_title(title: str) -> str:
    # PS3.5 6.2, value representation AE: at most 16 characters, no backslash, no control characters.
    title = title.strip(" ")
    if not title or len(title) > 16 or "\\" in title or not (title.isascii() and title.isprintable()):
        raise ValueError(f"{title!r} is no AE title: 1 to 16 ASCII characters without backslash")
    return title


def _kind(kind: str) -> str:
    if kind not in set(ObjectKind):
        raise ValueError(f"{kind!r} is no kind of object{nearest(kind, [one.value for one in ObjectKind])}")
    return kind


AeTitle = Annotated[str, AfterValidator(_ae_title)]
Kind = Annotated[str, AfterValidator(_kind)]
Url = Annotated[str, AfterValidator(lambda url: url.rstrip("/"))]
PeerTitle = Annotated[str, AfterValidator(lambda title: _ae_title(title) if title else title)]


class Section(BaseModel):
    """One table of node.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSection(Section):
    """Who the node is, where it listens (port 0 takes a free one) and where it keeps its files."""

    ae_title: AeTitle = "LODESTONE"
    host: str = Field(default="127.0.0.1", min_length=1)
    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    directory: Path = Path()
    require_called_ae_title: bool = True
    max_associations: int = Field(default=8, ge=1, le=100)
    free_space_watermark_mb: int = Field(default=2048, ge=0)


class DatabaseSection(Section):
    """Where the record is kept."""

    url: str = f"{SQLITE_PREFIX}lodestone.db"


class Caller(Section):
    """One application entity that may open an association; any host when `host` is empty."""

    ae_title: AeTitle
    host: str = ""


class Peer(Section):
    """One destination, called by `name` in the rules: a DICOM application entity, or a DICOMweb server at `url`.

    `objects` are the kinds that the peer must have; it gets all that are made where it names none. `commitment` says
    whether its word for storing is asked for: where it offers that, always, or never. An answer is waited for during
    `commit_within_min` [min], that of [delivery] where none is given. Files are relative to node.toml's folder.
    """

    name: str = Field(min_length=1)
    protocol: Literal["dicom", "dicomweb"] = "dicom"
    ae_title: PeerTitle = ""
    host: str = ""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    url: Url = ""
    user: str = ""
    password_file: str = ""
    token_file: str = ""
    ca_file: str = ""
    objects: tuple[Kind, ...] = ()
    commitment: Literal["auto", "required", "off"] = "auto"
    commit_within_min: float | None = Field(default=None, gt=0)

    @property
    def is_web(self) -> bool:
        """Say whether the peer is spoken to over DICOMweb."""
        return self.protocol == "dicomweb"

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        wanted, foreign = (WEB_KEYS, DICOM_KEYS) if self.is_web else (DICOM_KEYS, WEB_KEYS)
        missing = [key for key in wanted if key in NEEDED_KEYS and not getattr(self, key)]
        if missing:
            raise ValueError(f"peer {self.name!r} of protocol {self.protocol!r} needs {' and '.join(missing)}")
        strange = [key for key in foreign if getattr(self, key)]
        if strange:
            raise ValueError(f"peer {self.name!r} of protocol {self.protocol!r} has no {strange[0]}; remove it")
        if not self.is_web:
            return self
        if self.commitment == "required":
            raise ValueError(f"peer {self.name!r}: DICOMweb has no storage commitment; a query takes its place")
        web_peer(self, Path())
        return self


def web_peer(peer: Peer, folder: Path) -> peers.WebPeer:
    """Return a DICOMweb server as the network layer knows it; its files are relative to `folder`.

    Raises
    ------
    ValueError
        URL and credentials cannot be used.
    """
    password, token, authority = (
        (folder / name).absolute() if name else None for name in (peer.password_file, peer.token_file, peer.ca_file)
    )
    return peers.WebPeer(peer.name, peer.url, peer.user, password, token, authority)


class RecipesSection(Section):
    """Where a site keeps its own recipes; empty for none."""

    directory: str = ""


class CompletenessSection(Section):
    """How long the node waits [s]: only where counts in the headers cannot decide."""

    quiet_time_s: float = Field(default=60.0, gt=0)
    settle_s: float = Field(default=3.0, ge=0)


class DeliverySection(Section):
    """The ladder of retries: first pause and longest pause [s], their ratio, and the end [h].

    A peer's commitment is waited for during `commit_within_min` [min]; then the peer is queried. What a peer accepted
    and does not hold is sent again at most `most_resends` times.
    """

    first_retry_s: float = Field(default=5.0, gt=0)
    backoff: float = Field(default=2.0, ge=1)
    longest_retry_s: float = Field(default=900.0, gt=0)
    give_up_after_h: float = Field(default=72.0, gt=0)
    commit_within_min: float = Field(default=30.0, gt=0)
    most_resends: int = Field(default=3, ge=0, le=100)


class MappingSection(Section):
    """How the mathematics runs; `threads = 0` takes as many as there are processors."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(default=0, ge=0)
    memory_limit_gib: float = Field(default=8.0, gt=0)
    timeout_min: float = Field(default=60.0, gt=0)


class RegionsSection(Section):
    """A label map (NIfTI, on the series' grid) whose regions are measured, and the regions' names by label."""

    label_map: str = ""
    label_names: dict[int, str] = Field(default_factory=dict)


class OutputSection(Section):
    """Which objects are made, and whether they are marked as for research only.

    A destination gets others where its `[[peers]]` has `objects` of its own.
    """

    objects: tuple[Kind, ...] = USUAL_KINDS
    research_use_only: bool = True


class Settings(BaseSettings):
    """Everything an installer can choose; frozen after reading."""

    model_config = SettingsConfigDict(env_prefix="LODESTONE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    node: NodeSection = NodeSection()
    database: DatabaseSection = DatabaseSection()
    allow: tuple[Caller, ...] = ()
    peers: tuple[Peer, ...] = ()
    routing: RoutingSection = RoutingSection()
    rules: tuple[Rule, ...] = ()
    recipes: RecipesSection = RecipesSection()
    completeness: CompletenessSection = CompletenessSection()
    delivery: DeliverySection = DeliverySection()
    mapping: MappingSection = MappingSection()
    regions: RegionsSection = RegionsSection()
    output: OutputSection = OutputSection()
    kspace: KspaceSection = KspaceSection()

    _file: Path = PrivateAttr(default=Path("node.toml"))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose content arrives as keyword arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        peers = [peer.name for peer in self.peers]
        for kind, names in (("peer", peers), ("rule", [rule.name for rule in self.rules])):
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise ValueError(f"two {kind}s are called {repeated[0]!r}; give each its own name")
        for rule in self.rules:
            for destination in rule.destinations:
                if destination not in peers:
                    problem = f"rule {rule.name!r} sends to {destination!r}, but no [[peers]] has that name"
                    raise ValueError(problem + nearest(destination, peers))
        return self

    @property
    def file(self) -> Path:
        """Return the absolute path of the node.toml that was read."""
        return self._file

    @property
    def directory(self) -> Path:
        """Return the absolute folder of everything the node writes; a relative one starts at node.toml's folder."""
        return (self._file.parent / self.node.directory).resolve()

    @property
    def database_url(self) -> str:
        """Return the database's URL; a relative SQLite path starts at `directory`."""
        url = self.database.url
        if not url.startswith(SQLITE_PREFIX) or url == f"{SQLITE_PREFIX}:memory:":
            return url
        return SQLITE_PREFIX + str(self.directory / url.removeprefix(SQLITE_PREFIX))

    @property
    def recipes_directory(self) -> Path | None:
        """Return the absolute folder of the site's own recipes, or None."""
        return (self._file.parent / self.recipes.directory).resolve() if self.recipes.directory else None

    @property
    def label_map(self) -> Path | None:
        """Return the absolute path of the label map whose regions are measured, or None."""
        return (self._file.parent / self.regions.label_map).resolve() if self.regions.label_map else None

    @property
    def drop_folder(self) -> Path | None:
        """Return the absolute folder in which raw data files are dropped, or None."""
        return (self._file.parent / self.kspace.drop_folder).resolve() if self.kspace.drop_folder else None

    def kinds_for(self, peer_name: str) -> frozenset[str] | None:
        """Return the kinds of objects that a peer is to have; None for all, also where no peer has that name any more.

        An unknown peer must not end a series here: its delivery says what is wrong.
        """
        for peer in self.peers:
            if peer.name == peer_name and peer.objects:
                return frozenset(peer.objects)
        return None

    def kinds_to_make(self, peer_names: Sequence[str]) -> tuple[str, ...]:
        """Return what is to be made for some peers: what [output] lists, and what one of them asks for beside that."""
        asked = {kind for name in peer_names for kind in self.kinds_for(name) or ()}
        return tuple(kind for kind in ObjectKind if kind in asked or kind in self.output.objects)

    def peer(self, name: str) -> Peer:
        """Return the peer called `name`.

        Raises
        ------
        InvalidSettings
            No peer has that name.
        """
        for peer in self.peers:
            if peer.name == name:
                return peer
        raise InvalidSettings(
            f"{self._file}: no [[peers]] is called {name!r}{nearest(name, [p.name for p in self.peers])}"
        )


def load_settings(path: Path) -> Settings:
    """Read `path` and the environment, and validate both.

    Raises
    ------
    InvalidSettings
        The file is absent or no TOML, or a key or value cannot be; the sentence names file, key and remedy.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidSettings(
            f"{path} cannot be read ({error.strerror}); write one with `lodestone init DIR`."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} is not TOML: {error}.") from error
    settings = parse_settings(content, str(path))
    settings._file = path.resolve()
    return settings


def parse_settings(content: dict[str, Any], name: str = "node.toml") -> Settings:
    """Validate settings given as a dictionary together with the environment; `name` is the source in sentences.

    Raises
    ------
    InvalidSettings
        A key or value cannot be; the sentence names it.
    """
    try:
        return Settings(**content)
    except ValidationError as error:
        raise InvalidSettings(f"{name}: " + "; ".join(sentences(error, Settings)) + ".") from error
    except SettingsError as error:
        raise InvalidSettings(f"environment: {error}; lists are written as JSON.") from error
